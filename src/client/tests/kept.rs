//! Kept answers through the whole library: used, and not used behind what may change them.

use super::*;
use crate::client::{CacheSettings, Credentials};

#[test]
fn who_asks_to_be_somebody_else_is_told_nothing_kept_from_before() {
    let server = Server::start(&[]);
    let client = Client::builder(&format!("quorate://{}", server.address)).expect("an address");
    let client = client.cache(CacheSettings::default()).connect().wait_timeout(PATIENCE).expect("a session");
    client.create("/a", "1", CreateOptions::permanent()).wait_timeout(PATIENCE).expect("made");
    let get = || client.get("/a").wait_timeout(PATIENCE).expect("read");
    while client.cache_stats().hits == 0 {
        get();
    }
    for name in ["alice", "bob"] {
        get();
        let before = client.cache_stats().hits;
        let op = client.authenticate(Credentials::new(name, "secret"));
        get();
        assert_eq!(client.cache_stats().hits, before, "nobody knows yet what {name} may see");
        op.wait_timeout(PATIENCE).expect("proved");
        while client.cache_stats().hits == before {
            get();
        }
    }
}
