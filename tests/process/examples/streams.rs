use quorate::client::{Client, CreateOptions, Expect, Result, ScanOptions, WatchEvent, WatchOptions};

/// On any runtime. With `futures::StreamExt` imported it means the same, and adapters are those of a stream.
pub async fn awaited(client: &Client) -> Result<Vec<String>> {
    let mut watch = client.watch("/app", WatchOptions::recursive()).await?;
    let mut scan = client.scan("/app", ScanOptions::new());
    let mut paths = Vec::new();
    while let Some(node) = scan.next().await {
        paths.push(node?.path);
    }
    client.create("/app/last", "", CreateOptions::permanent()).await?;
    if let Some(event) = watch.next().await {
        paths.extend(event?.path().map(str::to_owned));
    }
    Ok(paths)
}

/// On a thread of its own: a `for`, or `into_iter()` for the adapters of an iterator.
pub fn waited_for(client: &Client) -> Result<Vec<String>> {
    let mut watch = client.watch("/app", WatchOptions::recursive()).wait()?;
    let nodes = client.scan("/app", ScanOptions::new()).into_iter();
    let mut paths = nodes.map(|node| Ok(node?.path)).collect::<Result<Vec<_>>>()?;
    client.delete("/app/last", Expect::Any).wait()?;
    // A borrow leaves the watch to be gone on with.
    for event in &mut watch {
        let event = event?;
        paths.extend(event.path().map(str::to_owned));
        if matches!(event, WatchEvent::Deleted { .. }) {
            break;
        }
    }
    client.create("/app/more", "", CreateOptions::permanent()).wait()?;
    if let Some(event) = watch.next().wait() {
        paths.extend(event?.path().map(str::to_owned));
    }
    Ok(paths)
}
