//! Fields that operations and steps share, and the tags in front of them.

use super::*;

/// What there is to say of a node to be opened: path, what for, what to make if there is none.
pub(super) type Opening<'a> = (&'a str, HandleMode, Option<BirthRef<'a>>);

/// What there is to say of a node to be made: path, data, lifetime, whether its name is numbered.
pub(super) type Made<'a> = (&'a str, &'a [u8], Lifetime, bool);

pub(super) fn put_create(out: &mut BytesMut, path: &str, data: &[u8], lifetime: Lifetime, sequential: bool) {
    out.put_u8(CREATE);
    put_made(out, (path, data, lifetime, sequential));
}

pub(super) fn put_create_with_acl(out: &mut BytesMut, made: Made<'_>, acl: &Acl) {
    out.put_u8(CREATE_WITH_ACL);
    put_made(out, made);
    acl.put(out);
}

pub(super) fn put_made(out: &mut BytesMut, (path, data, lifetime, sequential): Made<'_>) {
    put_text(out, path);
    put_bytes(out, data);
    put_lifetime(out, lifetime);
    out.put_u8(u8::from(sequential));
}

pub(super) fn take_steps<'a>(reader: &mut Reader<'a>) -> Result<Vec<StepRef<'a>>, DecodeError> {
    let count = reader.count("steps of a multi", MULTI_OPS_MAX, STEP_BYTES_MIN)?;
    (0..count).map(|_| StepRef::take(reader)).collect()
}

pub(super) fn put_create_log(out: &mut BytesMut, path: &str, lifetime: Lifetime, sequential: bool) {
    out.put_u8(CREATE_LOG);
    put_text(out, path);
    put_lifetime(out, lifetime);
    out.put_u8(u8::from(sequential));
}

pub(super) fn take_create_log<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, Lifetime, bool), DecodeError> {
    Ok((reader.text("a path")?, take_lifetime(reader)?, reader.bool("the mark of a sequential name")?))
}

pub(super) fn put_open(out: &mut BytesMut, path: &str, mode: HandleMode, birth: Option<&Birth>) {
    out.put_u8(OPEN);
    put_text(out, path);
    out.put_u8(mode.bits());
    put_maybe(out, birth, |out, birth| birth.put(out));
}

pub(super) fn take_open<'a>(reader: &mut Reader<'a>) -> Result<Opening<'a>, DecodeError> {
    let birth = |reader: &mut Reader<'a>| reader.maybe("what is to be made", BirthRef::take);
    Ok((reader.text("a path")?, HandleMode::take(reader)?, birth(reader)?))
}

pub(in crate::namespace::codec) fn put_lifetime(out: &mut BytesMut, lifetime: Lifetime) {
    match lifetime {
        Lifetime::Permanent => out.put_u8(0),
        Lifetime::Ephemeral => out.put_u8(1),
        Lifetime::Container => out.put_u8(2),
        Lifetime::Ttl { ms } => {
            out.put_u8(3);
            out.put_u64_le(ms);
        }
        Lifetime::Transient => out.put_u8(4),
    }
}

pub(super) fn take_create_with_acl<'a>(reader: &mut Reader<'a>) -> Result<(Made<'a>, Acl), DecodeError> {
    Ok((take_create(reader)?, Acl::take(reader)?))
}

pub(super) fn put_set_acl(out: &mut BytesMut, path: &str, acl: Option<&Acl>, expect: Expect) {
    out.put_u8(SET_ACL);
    put_text(out, path);
    put_maybe(out, acl, |out, acl| acl.put(out));
    put_expect(out, expect);
}

pub(super) fn take_set_acl<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, Option<Acl>, Expect), DecodeError> {
    Ok((reader.text("a path")?, reader.maybe("an access list", Acl::take)?, take_expect(reader)?))
}

pub(super) fn take_create<'a>(reader: &mut Reader<'a>) -> Result<Made<'a>, DecodeError> {
    let path = reader.text("a path")?;
    let data = reader.bytes("a node's data")?;
    let lifetime = take_lifetime(reader)?;
    Ok((path, data, lifetime, reader.bool("the mark of a sequential name")?))
}

pub(in crate::namespace::codec) fn take_lifetime(reader: &mut Reader<'_>) -> Result<Lifetime, DecodeError> {
    Ok(match reader.u8("a lifetime")? {
        0 => Lifetime::Permanent,
        1 => Lifetime::Ephemeral,
        2 => Lifetime::Container,
        3 => Lifetime::Ttl { ms: reader.u64("a time to live")? },
        4 => Lifetime::Transient,
        tag => return Err(DecodeError::UnknownTag { what: "lifetime", tag }),
    })
}

pub(super) fn put_set(out: &mut BytesMut, path: &str, data: &[u8], expect: Expect) {
    out.put_u8(SET);
    put_text(out, path);
    put_bytes(out, data);
    put_expect(out, expect);
}

pub(super) fn take_set<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, &'a [u8], Expect), DecodeError> {
    Ok((reader.text("a path")?, reader.bytes("a node's data")?, take_expect(reader)?))
}

pub(super) fn put_delete(out: &mut BytesMut, path: &str, expect: Expect) {
    out.put_u8(DELETE);
    put_text(out, path);
    put_expect(out, expect);
}

pub(super) fn put_append(out: &mut BytesMut, path: &str, records: &Records, end: Option<u64>) {
    out.put_u8(APPEND);
    put_text(out, path);
    records.as_ref().put(out);
    put_maybe(out, end, |out, end| out.put_u64_le(end));
}

pub(super) fn take_append<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, RecordsRef<'a>, Option<u64>), DecodeError> {
    let (path, records) = (reader.text("a path")?, RecordsRef::take(reader)?);
    Ok((path, records, reader.maybe("an end", |reader| reader.u64("a position"))?))
}

pub(super) fn put_expect(out: &mut BytesMut, expect: Expect) {
    match expect {
        Expect::Any => out.put_u8(0),
        Expect::Version(version) => {
            out.put_u8(1);
            out.put_u64_le(version);
        }
        Expect::Absent => out.put_u8(2),
    }
}

pub(super) fn take_expect(reader: &mut Reader<'_>) -> Result<Expect, DecodeError> {
    match reader.u8("a condition")? {
        0 => Ok(Expect::Any),
        1 => Ok(Expect::Version(reader.u64("a version")?)),
        2 => Ok(Expect::Absent),
        tag => Err(DecodeError::UnknownTag { what: "condition", tag }),
    }
}

// Operations and steps share one space of tags: what both have, both write alike.
pub(super) const CREATE: u8 = 1;
pub(super) const SET: u8 = 2;
pub(super) const DELETE: u8 = 3;
pub(super) const MULTI: u8 = 4;
pub(super) const SYNC: u8 = 5;
pub(super) const CLOSE_SESSION: u8 = 6;
pub(super) const CHECK: u8 = 7;
pub(super) const GET: u8 = 8;
pub(super) const ACQUIRE: u8 = 9;
pub(super) const RELEASE: u8 = 10;
pub(super) const GUARDED: u8 = 11;
pub(super) const CHECK_LOCK: u8 = 12;
pub(super) const DELETE_TREE: u8 = 13;
pub(super) const SET_QUOTA: u8 = 14;
pub(super) const OPEN: u8 = 30;
pub(super) const CLOSE: u8 = 31;
pub(super) const THROUGH: u8 = 32;
pub(super) const CHECK_HANDLE: u8 = 33;
pub(super) const SET_ACL: u8 = 20;
pub(super) const AUTHENTICATE: u8 = 21;
pub(super) const CREATE_WITH_ACL: u8 = 22;
pub(super) const CREATE_LOG: u8 = 40;
pub(super) const APPEND: u8 = 41;
pub(super) const TRIM: u8 = 42;
pub(super) const SEAL: u8 = 43;

/// A tag and an empty path.
pub(super) const STEP_BYTES_MIN: usize = 5;
