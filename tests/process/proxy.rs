//! A proxy that breaks connections, so that clients must send again and again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Passes bytes on to a server, and cuts each connection after a number of bytes that differs from one to the next.
pub struct Proxy {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    cuts: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy before `server`; connections break after 1,000 to 9,000 bytes of answers.
    pub fn before(server: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (stop, cuts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, cuts) = (Arc::clone(&stop), Arc::clone(&cuts));
            std::thread::spawn(move || {
                let mut random = seed;
                for client in listener.incoming() {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let allowance = 1_000 + (random >> 33) % 8_000;
                    if let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) {
                        pass(client, server, allowance as usize, &cuts);
                    }
                }
            })
        };
        Self { address, stop, cuts, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections broken so far.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Ends the wait for a client.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the proxy ends");
        }
    }
}

fn pass(client: TcpStream, server: TcpStream, allowance: usize, cuts: &Arc<AtomicU64>) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a stream can be shared");
    let (client_too, server_too, cuts) = (clone(&client), clone(&server), Arc::clone(cuts));
    std::thread::spawn(move || copy(client, server, usize::MAX));
    std::thread::spawn(move || {
        if copy(server_too, client_too, allowance) {
            cuts.fetch_add(1, Ordering::AcqRel);
        }
    });
}

/// Copies until one end closes, or the allowance is used up: then both ends are cut, at whatever byte that is.
fn copy(mut from: TcpStream, mut to: TcpStream, allowance: usize) -> bool {
    let mut left = allowance;
    let mut room = [0; 4096];
    loop {
        let count = match from.read(&mut room) {
            Ok(count) if count > 0 => count.min(left),
            _ => break,
        };
        left -= count;
        if to.write_all(&room[..count]).is_err() || left == 0 {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    left == 0
}
