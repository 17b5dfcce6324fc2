//! The few of etcd's messages that the load needs, encoded by hand.

use bytes::{BufMut, Bytes, BytesMut};

use crate::bench::system::Numbers;

/// A message of byte fields in its envelope: not compressed, length, body. `serializable` is a range request's field 7.
pub(super) fn envelope(fields: &[(u8, &[u8])], serializable: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(32 + fields.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
    out.put_bytes(0, 5);
    for (field, bytes) in fields {
        out.put_u8(field << 3 | 2);
        put_varint(&mut out, bytes.len() as u64);
        out.put_slice(bytes);
    }
    if serializable {
        out.put_slice(&[7 << 3, 1]);
    }
    let length = (out.len() - 5) as u32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The store's revision after a write: header (field 1), revision (its field 3).
pub(super) fn header_revision(body: &Bytes) -> Result<u64, String> {
    let header = fields(body)?.into_iter().find_map(|field| (field.number == 1).then_some(field.bytes));
    let fields = fields(&header.unwrap_or_default())?;
    fields.iter().find_map(|f| (f.number == 3).then_some(f.value)).ok_or_else(|| "a reply without a revision".into())
}

/// The only key of a range's reply (field 2): its value (5), revision of its last write (3), number of writes (4).
pub(super) fn found(body: &Bytes) -> Result<Option<(Bytes, Numbers)>, String> {
    let Some(key) = fields(body)?.into_iter().find(|field| field.number == 2) else { return Ok(None) };
    let (mut data, mut numbers) = (Bytes::new(), Numbers { order: 0, writes: 0 });
    for field in fields(&key.bytes)? {
        match field.number {
            3 => numbers.order = field.value,
            4 => numbers.writes = field.value,
            5 => data = field.bytes,
            _ => {}
        }
    }
    Ok(Some((data, numbers)))
}

struct Field {
    number: u64,
    value: u64,
    bytes: Bytes,
}

/// The fields of a message whose fields are numbers and bytes.
fn fields(body: &Bytes) -> Result<Vec<Field>, String> {
    let (mut at, mut found) = (0, Vec::new());
    while at < body.len() {
        let key = varint(body, &mut at)?;
        let value = varint(body, &mut at)?;
        let bytes = match key & 7 {
            0 => Bytes::new(),
            2 if value <= (body.len() - at) as u64 => {
                at += value as usize;
                body.slice(at - value as usize..at)
            }
            _ => return Err("a reply that is no message of ours".into()),
        };
        found.push(Field { number: key >> 3, value, bytes });
    }
    Ok(found)
}

fn varint(body: &[u8], at: &mut usize) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *body.get(*at).ok_or("a reply that was cut")?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number that does not end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_their_definition_says() {
        let put = envelope(&[(1, b"k"), (2, &[9; 200])], false);
        assert_eq!(put[..5], [0, 0, 0, 0, 206], "not compressed, then the length");
        let fields = fields(&put.slice(5..)).expect("it is whole");
        assert_eq!((fields[0].number, &fields[0].bytes[..]), (1, &b"k"[..]));
        assert_eq!((fields[1].number, fields[1].bytes.len()), (2, 200));
        // Range reply: header {revision 300}, one key {mod revision 7, version 2, value "v"}.
        let reply = Bytes::from_static(&[10, 3, 24, 0xac, 2, 18, 7, 24, 7, 32, 2, 42, 1, b'v']);
        assert_eq!(header_revision(&reply), Ok(300));
        assert_eq!(found(&reply), Ok(Some((Bytes::from_static(b"v"), Numbers { order: 7, writes: 2 }))));
        assert!(found(&reply.slice(..9)).is_err(), "a cut reply is seen");
    }
}
