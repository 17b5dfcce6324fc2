//! etcd's gRPC over bare HTTP/2: a stream a question.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::grpc::{envelope, found, header_revision};
use super::{PATIENCE, PAUSE};
use crate::bench::fleet::now;
use crate::bench::system::{Ask, Finished, Lost, System, Told, Troubles};
use crate::time::{Duration, Instant};

/// Clients of etcd, each with a connection, that share a thread.
pub struct Etcd {
    runtime: Runtime,
    tasks: LocalSet,
    shared: Rc<Shared>,
    clients: Vec<Rc<Client>>,
    now: Instant,
    closed: bool,
    troubles: Troubles,
}

/// What the tasks of all clients write to.
#[derive(Default)]
struct Shared {
    finished: RefCell<Vec<Finished>>,
    troubles: RefCell<Troubles>,
    /// Something was put into `finished`.
    something: Notify,
    /// Reads may be answered by the server at hand, with what it has.
    serializable: Cell<bool>,
}

#[derive(Default)]
struct Client {
    index: usize,
    open: RefCell<Option<Open>>,
    /// Asked while there was no connection.
    held: RefCell<Vec<(u64, Ask)>>,
    /// A question was not answered in time: the connection is to be given up.
    give_up: Notify,
}

#[derive(Clone)]
struct Open {
    send: SendRequest<Bytes>,
    put: Request<()>,
    range: Request<()>,
    delete: Request<()>,
}

const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

impl Etcd {
    /// `count` clients, which go round the endpoints.
    pub fn new(endpoints: &[String], count: usize, serializable: bool) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let tasks = LocalSet::new();
        let shared = Rc::new(Shared::default());
        shared.serializable.set(serializable);
        let clients: Vec<_> = (0..count).map(|index| Rc::new(Client { index, ..Client::default() })).collect();
        for client in &clients {
            tasks.spawn_local(stay_connected(endpoints.to_vec(), Rc::clone(client), Rc::clone(&shared)));
        }
        Ok(Self { runtime, tasks, shared, clients, now: now(), closed: false, troubles: Troubles::default() })
    }
}

impl System for Etcd {
    fn ask(&mut self, client: usize, tag: u64, ask: Ask) -> Result<(), Lost> {
        let client = &self.clients[client];
        let open = client.open.borrow().clone();
        match open {
            Some(open) => {
                self.tasks.spawn_local(answer(open, tag, ask, Rc::clone(client), Rc::clone(&self.shared)));
            }
            None => client.held.borrow_mut().push((tag, ask)),
        }
        Ok(())
    }

    fn turn(&mut self, patience: Duration, finished: &mut Vec<Finished>) -> io::Result<()> {
        let shared = Rc::clone(&self.shared);
        self.tasks.block_on(&self.runtime, async move {
            // Whether it was something or the end of the patience, what there is is taken.
            let _ = timeout(patience.into(), shared.something.notified()).await;
        });
        self.now = now();
        finished.append(&mut self.shared.finished.borrow_mut());
        Ok(())
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn clients(&self) -> usize {
        self.clients.len()
    }

    fn is_over(&self, _: usize) -> bool {
        self.closed
    }

    /// There are no sessions to end.
    fn close(&mut self) {
        self.closed = true;
    }

    fn troubles(&mut self) -> &mut Troubles {
        let new = self.shared.troubles.take();
        self.troubles.reconnects += new.reconnects;
        self.troubles.last = new.last.or(self.troubles.last.take());
        &mut self.troubles
    }
}

/// Keeps one client connected, to one server after the other, for as long as the run lasts.
async fn stay_connected(endpoints: Vec<String>, client: Rc<Client>, shared: Rc<Shared>) {
    for attempt in 0.. {
        let endpoint = &endpoints[(client.index + attempt) % endpoints.len()];
        if attempt > 0 {
            shared.troubles.borrow_mut().reconnects += 1;
        }
        let why = match timeout(PATIENCE.into(), connect(endpoint)).await {
            Err(_) => "no connection for two seconds".to_owned(),
            Ok(Err(why)) => why,
            Ok(Ok((open, connection))) => {
                *client.open.borrow_mut() = Some(open.clone());
                for (tag, ask) in client.held.take() {
                    let (client, shared) = (Rc::clone(&client), Rc::clone(&shared));
                    tokio::task::spawn_local(answer(open.clone(), tag, ask, client, shared));
                }
                drop(open);
                tokio::select! {
                    ended = connection => ended.err().map_or_else(|| "the server closed the connection".into(), |e| e.to_string()),
                    () = client.give_up.notified() => "no answer for two seconds".to_owned(),
                }
            }
        };
        *client.open.borrow_mut() = None;
        shared.troubles.borrow_mut().last = Some(format!("{endpoint}: {why}"));
        tokio::time::sleep(PAUSE.into()).await;
    }
}

async fn connect(endpoint: &str) -> Result<(Open, h2::client::Connection<TcpStream, Bytes>), String> {
    let stream = TcpStream::connect(endpoint).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let (send, connection) = builder.handshake(stream).await.map_err(|error| error.to_string())?;
    let request = |method: &str| {
        Request::post(format!("http://{endpoint}/etcdserverpb.KV/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|error| error.to_string())
    };
    let open = Open { send, put: request("Put")?, range: request("Range")?, delete: request("DeleteRange")? };
    Ok((open, connection))
}

async fn answer(open: Open, tag: u64, ask: Ask, client: Rc<Client>, shared: Rc<Shared>) {
    let maybe_done = matches!(ask, Ask::Write { .. } | Ask::Make { .. } | Ask::Delete { .. });
    let result = match timeout(PATIENCE.into(), asked(open, ask, shared.serializable.get())).await {
        Ok(result) => result.map_err(|why| Lost { why, maybe_done }),
        Err(_) => {
            client.give_up.notify_one();
            Err(Lost { why: "no answer for two seconds".into(), maybe_done })
        }
    };
    shared.finished.borrow_mut().push(Finished { client: client.index, tag, result });
    shared.something.notify_one();
}

async fn asked(open: Open, ask: Ask, serializable: bool) -> Result<Told, String> {
    let refused = |reply: Result<Bytes, Trouble>| match reply {
        Ok(body) => Ok(Ok(body)),
        Err(Trouble::Refused(why)) => Ok(Err(Told::Refused(why))),
        Err(Trouble::Lost(why)) => Err(why),
    };
    let message = |fields: &[(u8, &[u8])]| envelope(fields, false);
    let body = match &ask {
        // Keys need no folders.
        Ask::Folder { .. } => return Ok(Told::Made),
        Ask::Make { path, data } | Ask::Write { path, data } => {
            let body = message(&[(1, path.as_bytes()), (2, data)]);
            unary(&open.send, open.put, body).await
        }
        Ask::Read { path } | Ask::Look { path } => {
            let local = serializable && matches!(ask, Ask::Read { .. });
            unary(&open.send, open.range, envelope(&[(1, path.as_bytes())], local)).await
        }
        Ask::Delete { path } => unary(&open.send, open.delete, message(&[(1, path.as_bytes())])).await,
    };
    let body = match refused(body)? {
        Ok(body) => body,
        Err(told) => return Ok(told),
    };
    Ok(match ask {
        Ask::Folder { .. } | Ask::Make { .. } => Told::Made,
        Ask::Delete { .. } => Told::Deleted,
        Ask::Write { .. } => Told::Written { order: header_revision(&body)? },
        Ask::Read { .. } => match found(&body)? {
            Some((data, numbers)) => Told::Value { data, order: numbers.order },
            None => Told::Missing,
        },
        Ask::Look { .. } => Told::Seen(found(&body)?.map(|(_, numbers)| numbers)),
    })
}

enum Trouble {
    Lost(String),
    Refused(String),
}

/// One call: the reply's message.
async fn unary(send: &SendRequest<Bytes>, request: Request<()>, message: Bytes) -> Result<Bytes, Trouble> {
    let lost = |error: h2::Error| Trouble::Lost(error.to_string());
    let mut send = send.clone().ready().await.map_err(lost)?;
    let (response, mut body) = send.send_request(request, false).map_err(lost)?;
    body.send_data(message, true).map_err(lost)?;
    let (head, mut stream) = response.await.map_err(lost)?.into_parts();
    let mut got = Bytes::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk.map_err(lost)?;
        stream.flow_control().release_capacity(chunk.len()).map_err(lost)?;
        got = if got.is_empty() { chunk } else { [got, chunk].concat().into() };
    }
    let trailers = stream.trailers().await.map_err(lost)?;
    let headers = trailers.as_ref().unwrap_or(&head.headers);
    match headers.get("grpc-status") {
        Some(status) if status == "0" && got.len() >= 5 => Ok(got.slice(5..)),
        Some(status) => Err(Trouble::Refused(format!("status {status:?}: {:?}", headers.get("grpc-message")))),
        None => Err(Trouble::Lost("a reply without a status".into())),
    }
}
