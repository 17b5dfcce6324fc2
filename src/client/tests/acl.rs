//! Proving who one is, and what a refusal says.

use super::*;

#[test]
fn whoever_is_handed_a_client_has_proved_who_it_is() {
    let server = Server::start(&[]);
    let builder = Client::builder(&server.address.to_string()).expect("a target").auth(Credentials::new("alice", "a"));
    let client = wait(builder.auth(Credentials::new("ops", "o")).connect()).expect("it connects");
    let both = vec![User::new("alice", "a"), User::new("ops", "o")];
    assert_eq!(wait(client.who_am_i()).expect("it is told").users, both, "in the order they were given");
    wait(client.authenticate("digest:carol:c".parse().expect("credentials"))).expect("one more");
    assert_eq!(wait(client.who_am_i()).expect("it is told").users.len(), 3);
}

#[test]
fn a_proof_that_was_lost_is_given_again() {
    let server = Server::start(&[1]);
    let client = server.connect("");
    wait(client.sync()).expect("the first request is answered");
    wait(client.authenticate(Credentials::new("alice", "a"))).expect("its answer comes from the next connection");
    assert_eq!(wait(client.who_am_i()).expect("it is told").users, [User::new("alice", "a")], "it was applied once");
}

#[test]
fn a_refusal_names_the_node_as_its_caller_does_and_the_right() {
    let server = Server::start(&[]);
    let client = server.connect("/root");
    let entry: AclEntry = "world:anyone:r".parse().expect("an entry");
    let error = wait(client.set_acl("/a", Acl::new([entry.clone()]), Expect::Any)).expect_err("it is refused");
    assert!(matches!(&error, Error::NotAuthorized { path, needed: Rights::ADMIN } if path == "/a"), "{error:?}");
    assert_eq!(error.outcome(), crate::client::Outcome::NotApplied);
    assert!(error.to_string().contains("the right `admin`; authenticate"), "{error}");
    let error = wait(client.set_acl("/a", Acl::new(vec![entry; 65]), Expect::Any)).expect_err("it is too long");
    assert!(matches!(error, Error::TooLarge { size: 65, limit: 64, .. }), "{error:?}");
}
