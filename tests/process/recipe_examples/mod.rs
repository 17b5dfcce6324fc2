//! The examples of the pages of `quorate::client::recipes`, performed on a cell: the pages show these files.

mod barrier;
mod counter;
mod discovery;
mod double_barrier;
mod election;
mod first;
mod membership;
mod priority_queue;
mod queue;
mod read_write_lock;
mod rendezvous;
mod semaphore;
mod setting;

use std::path::Path;

use quorate::client::{Client, Result};

use super::cell::Cell;

/// One example: the name of its file, and what it does with two sessions.
type Example = (&'static str, fn(&Client, &Client) -> Result<()>);

const EXAMPLES: [Example; 13] = [
    ("barrier", barrier::hold_and_let_go),
    ("counter", counter::count),
    ("discovery", discovery::find),
    ("double_barrier", double_barrier::step),
    ("election", |client, _| election::lead(client)),
    ("first", |client, _| first::lead(client)),
    ("membership", membership::join),
    ("priority_queue", |client, _| priority_queue::most_urgent_first(client)),
    ("queue", queue::put_and_take),
    ("read_write_lock", read_write_lock::write_and_read),
    ("rendezvous", rendezvous::meet),
    ("semaphore", |client, _| semaphore::limit(client)),
    ("setting", setting::follow),
];

#[test]
fn every_page_s_example_does_what_it_says() {
    let cell = Cell::start(3, "");
    cell.leader();
    let (client, other) = (cell.connect(), cell.connect());
    for (name, example) in EXAMPLES {
        example(&client, &other).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn every_example_is_on_a_page_and_every_page_says_what_becomes_of_it_in_a_failure() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client/recipes");
    let mut pages = String::new();
    for entry in std::fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("listed").path();
        let text = std::fs::read_to_string(&path).expect("it is text");
        if !path.ends_with("mod.rs") && !path.ends_with("fence.rs") {
            let page = text.contains("recipe_examples/") && text.contains("/// # When something fails\n");
            assert!(page, "{} has an example that is run, and says what becomes of it", path.display());
        }
        pages += &text;
    }
    for (name, _) in EXAMPLES {
        assert!(pages.contains(&format!("recipe_examples/{name}.rs")), "{name} is shown");
    }
}
