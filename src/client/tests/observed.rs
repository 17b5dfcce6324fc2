//! What is told of a session between two turns of the driver, of which the next may come late.

use super::super::observe::Observed;
use super::*;

#[test]
fn what_is_left_of_the_lease_and_of_the_grace_is_told_by_the_clock_and_not_by_the_driver() {
    let observed = Observed::new(None);
    let (now, hour) = (clock::now(), crate::time::Duration::from_secs(3600));
    let (past, soon, later) = (now.before(hour), now + hour, now + hour + hour);
    let left = |state, until| {
        observed.set(state, None, until, 0);
        (observed.safe_for(), observed.grace_left())
    };
    let some = |left: Duration| left > Duration::ZERO && left <= hour.into();
    assert_eq!((observed.safe_for(), observed.grace_left()), (Duration::ZERO, None), "no session yet");
    let (safe, grace) = left(SessionState::Safe, (soon, later));
    assert!(some(safe) && grace.is_none(), "there is no doubt yet: {safe:?}, {grace:?}");
    // As one finds it who was asleep beyond the lease: the driver has not had its turn.
    let (safe, grace) = left(SessionState::Safe, (past, soon));
    assert!(safe == Duration::ZERO && grace.is_some_and(some), "{safe:?}, {grace:?}");
    let (safe, grace) = left(SessionState::Jeopardy, (past, soon));
    assert!(safe == Duration::ZERO && grace.is_some_and(some), "{safe:?}, {grace:?}");
    assert!(observed.grace_left() < grace, "time goes on");
    for (state, until, grace) in [
        (SessionState::Safe, (past, past), Some(Duration::ZERO)),
        (SessionState::Jeopardy, (past, past), Some(Duration::ZERO)),
        (SessionState::Expired, (past, soon), None),
        (SessionState::Closed, (past, soon), None),
    ] {
        assert_eq!(left(state, until), (Duration::ZERO, grace), "{state:?}");
    }
    observed.close();
    assert_eq!(left(SessionState::Safe, (soon, later)), (Duration::ZERO, None), "closed, not in doubt");
}
