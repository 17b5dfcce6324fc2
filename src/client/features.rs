//! What Chubby and ZooKeeper do, row by row: what it is here, and the test that shows it.
//!
//! Chubby's list is that of its paper (Burrows, OSDI 2006, by section) and of *Paxos Made Live* (PODC 2007); ZooKeeper's is
//! that of its 3.9 line and of its paper (Hunt and others, USENIX ATC 2010). Figures of their speed are none of it: the
//! README compares that.
//!
//! A test is written as the file it is in and its name. Where there is none, the row says why: *later* is what is left for
//! a later version, *absent* what is not wanted here, and *not yet* what is missing.
//!
//! `tests/features.rs` holds this page to the tree: a test that is named exists, and no call of either system is left out.
//!
//! # Chubby: shape (§2.1, §2.2)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | A cell of replicas, one master | a cell of 3 or 5, one leader, Multi-Paxos | `tests/sim/main.rs::fresh_seeds` `tests/process/crashes.rs::the_leader_is_killed_under_load_and_comes_back` |
//! | Master lease | leader lease; a reign without one reads by a round trip | `tests/process/crashes.rs::a_leader_paused_past_its_lease_serves_nothing_stale` |
//! | Reads at the master, writes acknowledged by a majority | linearizable reads at every replica | `tests/sim/main.rs::fresh_seeds` `tests/process/crashes.rs::all_are_killed_at_once_and_lose_nothing` |
//! | Election in some seconds | in a fraction of one | `tests/process/bench.rs::writes_go_on_after_the_leader_is_killed_and_sessions_come_and_go` |
//! | Finding the master | any address will do; the library learns the others | `src/client/machine/tests.rs::a_client_that_prefers_the_leader_goes_there` |
//! | Replacing a replica | `quorate recover` | `tests/process/members.rs::a_lost_disk_is_replaced_and_then_another_replica_may_fail` |
//! | Member list in the database | an entry of the log | `tests/process/members.rs::a_fourth_replica_joins_elsewhere_and_the_leader_is_removed` |
//! | A service, not a library: no quorum among clients | one client alone can lock and elect | `tests/process/guide/mod.rs::the_guide_is_performed` |
//! | Coarse-grained locks, which outlive a fail-over | locks and queues are in the log | `tests/process/locks.rs::a_lock_and_its_queue_outlive_the_leader` `tests/process/locks.rs::what_is_counted_under_a_lock_is_counted_once_though_leaders_die` |
//!
//! # Chubby: nodes (§2.3)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Names below `/ls/CELL` | a connect string names hosts, cell and root | `src/client/target.rs::a_full_target_says_everything` `src/client/machine/tests.rs::another_cell_and_malformed_words_end_the_client` |
//! | A strict tree, one name a node, no links, no moves | likewise | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Whole-file reads and writes | likewise | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/process/nodes.rs::data_past_the_limit_are_refused_by_name_before_they_are_written_down` |
//! | Through the site's file API |  | absent: there is no such API outside of Chubby's site |
//! | Permanent nodes | `CreateOptions::permanent` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Ephemeral nodes, which live while open | transient nodes | `tests/process/handles.rs::a_transient_node_and_its_handles_outlive_leaders_and_go_together` `src/namespace/tests/handles.rs::a_transient_node_goes_with_its_last_handle` `src/namespace/tests/handles.rs::children_keep_a_transient_node_that_nobody_has_open` |
//! | Any node is an advisory reader/writer lock | likewise | `src/namespace/tests/locks.rs::readers_share_and_starve_no_writer` `tests/sim/main.rs::nothing_is_left_out` |
//! | Instance number | `Stat::instance` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Content generation | `Stat::version` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Lock generation | `Stat::lock_generation`, a fencing token | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `src/namespace/tests/locks.rs::a_stale_sequencer_is_refused_in_every_kind_of_request` |
//! | ACL generation | `Stat::acl_version` | `src/namespace/tests/acls.rs::a_list_has_a_version_of_its_own_and_no_event` |
//! | Content checksum | `Stat::checksum` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `src/namespace/tests/images.rs::an_image_and_its_tail_equal_a_replay` |
//! | ACL names, inherited at creation | access lists | `src/namespace/tests/acls.rs::a_list_is_inherited_at_the_making_and_never_after` |
//! | ACLs are files that list principals | `group:` entries | `src/namespace/tests/acls.rs::a_group_says_no_more_than_its_lines_and_is_no_ladder` |
//! | Users known by authentication | identities of a session | `src/namespace/tests/acls.rs::who_a_session_is_grows_is_bounded_and_outlives_connections` `tests/process/acls.rs::an_address_is_a_principal_and_a_wrong_password_is_nobody` |
//!
//! # Chubby: handles (§2.3)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Check digits | MAC under a key of the cell | `src/namespace/tests/handles.rs::what_is_on_a_handle_is_covered_by_its_digits` `tests/process/handles.rs::a_handle_is_of_an_instance_and_of_nobody_who_makes_one_up` |
//! | Sequence number: which master made it | the reign is in the handle | `src/namespace/tests/handles.rs::a_handle_names_the_reign_it_was_made_in_and_outlives_it` |
//! | Mode, for a new master to recreate state | state is in the log | `src/namespace/tests/handles.rs::a_handle_is_good_for_what_it_was_opened_for_and_for_its_node` |
//! | Names an instance | fails once the node is gone, made anew or not | `src/namespace/tests/handles.rs::a_handle_names_an_instance_and_not_a_name` |
//! | All calls fail after the session | only a suffix of calls is lost | `src/client/machine/tests.rs::the_cells_word_ends_the_session_at_once` |
//!
//! # Chubby: calls (§2.6)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Open | `open` | `src/namespace/tests/handles.rs::opening_makes_what_is_missing_if_it_may_and_nothing_else` `src/namespace/tests/acls/hidden.rs::an_opening_that_makes_its_node_gives_it_the_list` |
//! | Close | `close` of a handle | `src/namespace/tests/handles.rs::a_handle_shown_to_another_session_serves_it_until_it_is_closed` |
//! | Poison | `poison` | `tests/process/handles.rs::poison_calls_back_what_waits_and_keeps_the_node_open` |
//! | GetContentsAndStat | `get` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/process/guide/mod.rs::the_guide_is_performed` |
//! | GetStat | `exists` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | ReadDir | `entries`: names with stats, in pages | `src/namespace/tests/listings.rs::entries_are_the_names_with_the_stats_of_the_nodes` |
//! | SetContents, with a generation | `set`, with a version | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/readme.rs::the_readme_does_what_it_says` |
//! | SetACL | `set_acl` | `src/namespace/tests/acls.rs::a_list_has_a_version_of_its_own_and_no_event` `tests/process/acls.rs::a_list_holds_under_another_leader_and_after_a_restart_of_all` |
//! | Delete, if there are no children | `delete`; `delete_tree` for the rest | `src/namespace/tests/refusals.rs::each_refusal_is_the_right_one_and_changes_no_node` `tests/process/nodes.rs::a_large_tree_comes_down_in_parts_while_the_leader_dies` |
//! | Acquire | `lock`: a fair queue in the cell | `tests/process/locks.rs::a_lock_and_its_queue_outlive_the_leader` |
//! | TryAcquire | `try_lock` | `src/namespace/tests/locks.rs::readers_share_and_starve_no_writer` |
//! | Release | dropping or releasing the guard | `src/namespace/tests/locks.rs::a_lock_goes_from_one_to_the_next_in_the_order_they_came` |
//! | GetSequencer | `LockGuard::sequencer` | `src/namespace/tests/locks.rs::a_stale_sequencer_is_refused_in_every_kind_of_request` |
//! | SetSequencer | guarded writes, refused in the log | `src/namespace/tests/locks.rs::a_stale_sequencer_is_refused_in_every_kind_of_request` `tests/process/logs.rs::a_writer_that_lost_its_lock_appends_no_more_under_another_leader` |
//! | CheckSequencer | `check_sequencer` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Each call waits, or calls back, with diagnostics | `Op`: wait or await; typed errors | `src/client/op.rs::a_future_is_woken_by_its_answer` `src/client/op.rs::patience_ends_with_an_unknown_outcome` |
//! | Cancel (wished for) | dropping an `Op` that waits for a lock | `tests/process/locks.rs::who_gives_up_early_takes_no_claim_along_but_its_own` |
//! | GetEvent over TCP (wished for) | watches | `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` |
//! | CreateSession, KeepAlive | open and ping | `src/client/machine/tests.rs::a_session_is_opened_and_calls_made_before_follow_in_order` `src/client/machine/tests.rs::the_lease_runs_from_the_sending_of_the_ping_and_calls_wait_in_jeopardy` |
//!
//! # Chubby: locks (§2.4)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Shared and exclusive | likewise | `src/namespace/tests/locks.rs::readers_share_and_starve_no_writer` `src/namespace/tests/locks.rs::a_lost_reader_keeps_writers_out_and_no_reader` |
//! | Locks are advisory | a locked node is read and written by all | `tests/sim/main.rs::fresh_seeds` |
//! | Sequencers | likewise, checked in the log | `src/namespace/tests/locks.rs::a_stale_sequencer_is_refused_in_every_kind_of_request` |
//! | Services that remember the greatest they saw | `Fence` | `src/client/recipes/fence.rs::tokens_never_fall_and_locks_are_not_mixed_up` |
//! | Lock-delay after a loss, a minute at most | likewise | `src/namespace/tests/locks.rs::a_loss_keeps_the_lock_shut_for_the_delay_by_the_logs_time` `tests/process/locks.rs::a_dead_holders_lock_comes_free_after_its_session_and_the_delay` |
//! | A release frees at once | likewise | `src/namespace/tests/locks.rs::a_clean_end_or_a_wait_leaves_no_delay` |
//!
//! # Chubby: events (§2.5)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | File contents modified | `Changed` | `src/front/tests/watches.rs::each_scope_sees_its_own` |
//! | Child added, removed, modified | watches of children and entries | `src/front/tests/watches.rs::each_scope_sees_its_own` |
//! | Master failed over | `SessionEvent::Failover`; no event is lost by it | `src/client/machine/tests.rs::a_session_confirmed_within_the_grace_is_safe_again_and_held_calls_go_on` `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` |
//! | Handle became invalid | `Handle::events` ends with it | `tests/process/handles.rs::a_transient_node_and_its_handles_outlive_leaders_and_go_together` |
//! | Lock acquired | the answer to `lock` | `tests/process/locks.rs::hundreds_wait_and_each_has_its_turn_once` |
//! | Conflicting lock request | `LockGuard::wanted`, of requests that wait | `src/namespace/tests/locks.rs::whoever_comes_to_wait_is_told_of_once` `tests/process/locks.rs::a_holder_hears_who_wants_its_lock_under_any_leader` `tests/sim/main.rs::fresh_seeds` |
//!
//! # Chubby: cache (§2.7)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | File data and meta-data | data and stat | `tests/process/caching.rs::what_is_kept_is_never_stale_though_leaders_die` |
//! | Absence of files | likewise | `src/replica/cache/tests.rs::no_answer_changes_that_was_not_touched` |
//! | Invalidation before the write | before it is proposed | `src/replica/cache/tests.rs::what_is_kept_is_got_back_before_it_changes` `src/client/machine/tests/keeping.rs::a_recall_is_obeyed_before_it_is_answered` `src/replica/cache/tests/lists.rs::what_lists_and_groups_let_somebody_see_is_asked_back_before_it_changes` |
//! | Cache lease: a dead client holds a write up no longer | likewise | `tests/process/caching.rs::a_dead_client_holds_up_only_what_it_kept_and_not_for_ever` `src/replica/cache/tests.rs::who_does_not_answer_holds_a_command_up_until_its_lease_is_over` |
//! | Uncachable while it is being written | reads never wait | `src/replica/cache/tests.rs::what_changes_is_granted_to_nobody_until_it_is_applied` |
//! | Open handles, locks | a handle is kept by its session: a call through it asks for no opening | `tests/process/handles.rs::a_transient_node_and_its_handles_outlive_leaders_and_go_together` |
//!
//! # Chubby: sessions (§2.8)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Session lease, extended and never shortened | the timeout runs from the last sign of life | `src/replica/liveness.rs::a_session_that_speaks_lives` `src/replica/liveness.rs::a_session_taken_up_again_and_again_takes_no_more_room` |
//! | Extended when a new master comes | the whole time anew | `src/replica/liveness.rs::a_session_heard_between_two_looks_has_its_whole_time_from_then_on` |
//! | KeepAlive replies carry events | the connection carries them at once | `src/front/tests/watches.rs::events_come_before_the_answers_of_their_turn` |
//! | The client's own lease is the shorter one | from its own time of sending | `src/client/machine/tests.rs::the_lease_runs_from_the_sending_of_the_ping_and_calls_wait_in_jeopardy` |
//! | Jeopardy, grace period, safe | likewise, 45 s | `src/client/machine/tests.rs::a_session_confirmed_within_the_grace_is_safe_again_and_held_calls_go_on` `src/client/machine/tests.rs::the_lease_runs_from_the_sending_of_the_ping_and_calls_wait_in_jeopardy` `tests/process/sessions.rs::without_a_cell_a_session_is_in_jeopardy_and_then_over_or_safe_again` |
//! | Expired | an error on every later call | `src/client/machine/tests.rs::the_cells_word_ends_the_session_at_once` |
//! | Closed explicitly | `close` | `src/client/machine/tests.rs::closing_ends_the_session_after_the_calls_before_it` |
//! | Closed after a minute without use |  | absent: a session is its client's for as long as that lives |
//! | KeepAlive over UDP |  | later: UDP keep-alives |
//!
//! # Chubby: fail-over (§2.9)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | 1 New epoch, older calls rejected | ballots; answers of a reign that is over do not leave | `src/server/published.rs::a_reader_never_pairs_a_ballot_with_another_ones_deadline` `tests/process/crashes.rs::a_leader_paused_past_its_lease_serves_nothing_stale` |
//! | 2, 4 Master location first, then KeepAlives | requests wait at the client until a leader serves | `src/client/machine/tests.rs::after_a_reconnection_each_unanswered_call_is_sent_once_in_order` |
//! | 3 Sessions and locks from the database, leases extended | from the log | `tests/process/locks.rs::a_lock_and_its_queue_outlive_the_leader` `src/replica/liveness.rs::a_session_heard_between_two_looks_has_its_whole_time_from_then_on` |
//! | 5 Fail-over event | `SessionEvent::Failover` | `src/client/machine/tests.rs::a_session_confirmed_within_the_grace_is_safe_again_and_held_calls_go_on` `tests/process/sessions.rs::when_the_leader_dies_a_session_hears_of_the_next_one_and_of_nothing_worse` |
//! | 6 Waits until caches are flushed | likewise, only for sessions that cache | `src/replica/cache/tests.rs::a_new_leader_asks_everybody_to_drop_everything_first` `src/replica/cache/tests.rs::a_new_leader_waits_no_longer_than_a_lease` |
//! | 7 All operations | after the reign's first entry is applied | `tests/process/crashes.rs::the_leader_is_killed_under_load_and_comes_back` |
//! | 8 Handles live on | likewise | `tests/process/handles.rs::a_transient_node_and_its_handles_outlive_leaders_and_go_together` |
//! | 9 Ephemerals that nobody opened go | transient nodes | `src/namespace/tests/handles.rs::a_session_that_ends_closes_all_it_has_open_in_one_command` |
//! | Session timers stand still without a master | likewise | `src/replica/liveness.rs::time_in_which_the_leader_did_not_listen_does_not_count` |
//!
//! # Chubby: database, backup, scaling (§2.10 to §3, and its Paxos paper)
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Write-ahead log and snapshots | journal and images | `src/namespace/tests/images.rs::an_image_and_its_tail_equal_a_replay` `tests/process/images.rs::the_log_stays_bounded_and_all_are_killed_at_any_point_of_it` |
//! | Group commit | batches that a flush in flight gathers | `src/journal/writer/tests.rs::records_queued_together_are_one_write_of_uncopied_memory` |
//! | Disk corruption is detected | and told from a crash, and mended | `tests/process/storage.rs::what_rots_beneath_a_running_replica_is_found_and_replaced` `src/journal/tests.rs::many_lives_with_crashes_and_bad_sectors_deny_nothing` |
//! | MultiOp: guard, then, else | `txn` | `tests/process/txn.rs::a_transaction_takes_one_branch_whole` |
//! | Checksums compared among replicas | digests of the state | `tests/sim/divergence.rs::a_replica_that_differs_from_a_majority_stops_and_the_others_go_on` `tests/process/divergence.rs::a_replica_whose_state_differs_ends_and_the_others_go_on` |
//! | Failure-injecting test harness | the simulator | `tests/sim/main.rs::nothing_is_left_out` `tests/sim/main.rs::fresh_seeds` |
//! | Backup elsewhere |  | later: scheduled off-host backup |
//! | Mirroring between cells |  | later: mirroring |
//! | Proxies |  | later: proxies |
//! | Partitioning |  | later: partitioning |
//! | Protocol-conversion servers |  | later: ZooKeeper wire gateway |
//! | Bound of a file's size | a megabyte | `tests/process/nodes.rs::data_past_the_limit_are_refused_by_name_before_they_are_written_down` |
//! | Storage quota (missed) | quotas of subtrees | `tests/process/nodes.rs::a_quota_holds_and_warns_under_another_leader` |
//! | No events lost in a fail-over (wished for) | cursors, and gaps that are told | `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` `tests/process/watching.rs::a_past_that_died_with_its_replicas_is_a_gap_and_what_follows_is_told` |
//! | A thin protocol for other languages (wished for) | every frame is on record | `src/wire/tests.rs::a_clients_messages_have_the_bytes_on_record` |
//! | Name service, batched (§4.5) | scans with data | `tests/process/nodes.rs::a_scan_goes_on_in_order_while_leaders_die_and_nodes_go` |
//!
//! # ZooKeeper: operations
//!
//! | there | here | shown by |
//! |---|---|---|
//! | create | `create` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/readme.rs::the_readme_does_what_it_says` |
//! | create2 | every creation returns the stat | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | delete | `delete`, with a version | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/readme.rs::the_readme_does_what_it_says` |
//! | exists | `exists` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | getData | `get` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/readme.rs::the_readme_does_what_it_says` |
//! | setData | `set`, with a version | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/readme.rs::the_readme_does_what_it_says` |
//! | getACL | `acl` | `tests/process/acls.rs::the_command_line_sets_shows_and_obeys_lists` |
//! | setACL | `set_acl` | `src/namespace/tests/acls.rs::a_list_has_a_version_of_its_own_and_no_event` `tests/process/acls.rs::the_command_line_sets_shows_and_obeys_lists` |
//! | getChildren | `list` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/readme.rs::the_readme_does_what_it_says` |
//! | getChildren2 | with the stat of the parent, and of each child if wanted | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `src/namespace/tests/listings.rs::entries_are_the_names_with_the_stats_of_the_nodes` |
//! | getAllChildrenNumber | the usage of a quota, or a scan | `src/namespace/tests/quotas.rs::a_quota_counts_what_was_there_and_what_comes_goes_and_changes` |
//! | getEphemerals | a scan tells each owner, `quorate session ls` how many | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `tests/process/sessions.rs::every_replica_tells_of_every_session` |
//! | sync | `sync`; reads need none | `tests/sim/main.rs::fresh_seeds` |
//! | ping | by the library | `src/client/machine/tests.rs::the_lease_runs_from_the_sending_of_the_ping_and_calls_wait_in_jeopardy` |
//! | check | `Txn::check` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | multi | `txn` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` `src/namespace/tests/requests.rs::a_multi_sees_its_own_work_under_one_revision` `tests/process/txn.rs::each_transaction_is_there_once_and_whole_though_leaders_die` |
//! | multiRead | reads in a `txn` | `src/namespace/tests/requests.rs::a_multi_sees_its_own_work_under_one_revision` `src/namespace/tests/refusals.rs::a_multi_that_reads_more_than_a_reply_holds_is_refused` |
//! | transaction() | `Txn` | `tests/process/txn.rs::a_transaction_takes_one_branch_whole` |
//! | createContainer | `CreateOptions::container` | `src/namespace/tests/lifetimes.rs::a_container_ends_some_time_after_its_last_child_went` `tests/process/nodes.rs::a_node_ends_in_its_time_under_another_leader_and_after_a_restart_of_all` |
//! | deleteContainer | by the leader, in the log | `src/namespace/tests/lifetimes.rs::a_container_ends_some_time_after_its_last_child_went` |
//! | createTTL | `CreateOptions::ttl` | `src/namespace/tests/lifetimes.rs::a_node_with_a_time_to_live_ends_when_it_was_left_alone_for_so_long` `tests/process/nodes.rs::a_node_ends_in_its_time_under_another_leader_and_after_a_restart_of_all` |
//! | reconfig | `quorate member` | `tests/process/members.rs::a_fourth_replica_joins_elsewhere_and_the_leader_is_removed` `tests/process/members.rs::a_lost_disk_is_replaced_and_then_another_replica_may_fail` |
//! | getConfig | `quorate member list` | `tests/process/members.rs::a_fourth_replica_joins_elsewhere_and_the_leader_is_removed` |
//! | updateServerList | learned from the cell | `tests/process/members.rs::a_fourth_replica_joins_elsewhere_and_the_leader_is_removed` |
//! | addWatch | `watch`: persistent, recursive if wanted | `src/front/tests/watches.rs::each_scope_sees_its_own` |
//! | setWatches, setWatches2 | by the library, from a revision | `src/front/tests/watches.rs::a_watch_that_comes_back_is_told_what_it_missed_and_then_goes_on` |
//! | checkWatches, removeWatches | dropping the `Watch` | `src/front/tests/watches.rs::watches_go_with_their_connection_their_session_and_when_nobody_wants_them` |
//! | auth | identities of a session | `src/namespace/tests/acls.rs::who_a_session_is_grows_is_bounded_and_outlives_connections` |
//! | whoAmI | `who_am_i`, `quorate acl whoami` | `tests/process/acls.rs::the_command_line_sets_shows_and_obeys_lists` |
//! | sasl |  | later: SASL |
//! | createSession | by the library | `src/client/machine/tests.rs::a_session_is_opened_and_calls_made_before_follow_in_order` |
//! | closeSession | `close` | `src/client/machine/tests.rs::closing_ends_the_session_after_the_calls_before_it` |
//! | Each call sync or async, in FIFO order | `Op` | `src/client/machine/random.rs::each_request_is_applied_once_in_order_and_every_call_is_answered` |
//! | chroot suffix | `chroot`, or in the connect string | `src/client/tests.rs::a_root_is_put_in_front_of_paths_and_taken_off_again` |
//!
//! # ZooKeeper: data model
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Nodes with data and children | likewise, a megabyte of data | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Children of a node, as many as a listing's one reply holds | four million, listed in pages | `src/namespace/tests/quotas.rs::a_node_has_so_many_children_and_no_more_however_they_come` |
//! | Stat | `Stat`, and a checksum | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | PERSISTENT | `permanent` | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | EPHEMERAL | `ephemeral`; no children | `src/namespace/tests/requests.rs::a_session_takes_its_ephemeral_nodes_along_in_one_revision` `src/namespace/tests/refusals.rs::each_refusal_is_the_right_one_and_changes_no_node` |
//! | _SEQUENTIAL | `sequential`; the number does not overflow | `src/namespace/tests/requests.rs::sequential_names_never_fall_back` |
//! | CONTAINER | `container` | `src/namespace/tests/lifetimes.rs::a_container_ends_some_time_after_its_last_child_went` |
//! | _WITH_TTL | `ttl`; always on | `src/namespace/tests/lifetimes.rs::a_node_with_a_time_to_live_ends_when_it_was_left_alone_for_so_long` |
//! | Conditional setData and delete | by version | `src/namespace/tests/generated.rs::the_namespace_does_what_the_model_does` |
//! | Conditional setACL | by version | `src/namespace/tests/acls.rs::a_list_has_a_version_of_its_own_and_no_event` |
//! | Quotas, soft and hard, nodes and bytes | likewise | `tests/process/nodes.rs::a_quota_holds_and_warns_under_another_leader` `src/namespace/tests/quotas.rs::a_soft_bound_warns_when_it_is_passed_and_again_when_it_is_passed_again` |
//! | Reserved /zookeeper: configuration and quotas | `members` and `quota`; no name is taken from users | `tests/process/members.rs::a_fourth_replica_joins_elsewhere_and_the_leader_is_removed` `tests/process/nodes.rs::a_quota_holds_and_warns_under_another_leader` |
//!
//! # ZooKeeper: watches
//!
//! | there | here | shown by |
//! |---|---|---|
//! | One-shot | `WatchOptions::once` | `src/client/watch.rs::wanted_once_it_ends_with_the_first` |
//! | Persistent | the default | `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` |
//! | Persistent recursive | `WatchOptions::recursive` | `src/front/tests/watches.rs::each_scope_sees_its_own` |
//! | Created, deleted, data changed, children changed | likewise | `src/front/tests/watches.rs::each_scope_sees_its_own` |
//! | Set again after a reconnection, elsewhere too | from the revision that was seen last | `src/front/tests/watches.rs::a_watch_that_comes_back_is_told_what_it_missed_and_then_goes_on` `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` |
//! | The event before the new data | likewise | `src/front/tests/watches.rs::events_come_before_the_answers_of_their_turn` `tests/sim/main.rs::fresh_seeds` |
//! | Every change (not guaranteed there) | every change, or a gap that says so | `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` `tests/process/watching.rs::a_past_that_died_with_its_replicas_is_a_gap_and_what_follows_is_told` |
//! | Catch-up of persistent watches (not there) | likewise | `src/front/tests/watches.rs::a_watch_that_comes_back_is_told_what_it_missed_and_then_goes_on` |
//! | Events carry the zxid | and a command's events come together | `tests/process/watching.rs::a_command_is_seen_whole_by_all_who_are_concerned` |
//! | Watches cheap enough for many | 200 bytes each | `src/front/tests/watches.rs::a_hundred_thousand_watches_take_two_hundred_bytes_each` |
//!
//! # ZooKeeper: sessions
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Id and password, known to every server | id and secret; a restarted process goes on with the session | `src/namespace/tests/requests.rs::a_wrong_secret_takes_up_nothing` `tests/process/saved_sessions.rs::a_killed_process_is_followed_by_one_that_knows_what_it_did` |
//! | Negotiated timeout | 2 to 60 s | `tests/process/sessions.rs::every_replica_tells_of_every_session` |
//! | Moves between servers | likewise | `src/client/machine/tests.rs::after_a_reconnection_each_unanswered_call_is_sent_once_in_order` `tests/process/crashes.rs::connections_break_all_the_time_and_each_request_is_applied_once` |
//! | States and events | `SessionState`, `SessionEvents` | `src/client/machine/tests.rs::a_session_confirmed_within_the_grace_is_safe_again_and_held_calls_go_on` `src/client/machine/tests.rs::the_cells_word_ends_the_session_at_once` |
//! | Expiry decided by the leader | in the log, if the session did not stir; of very many in bounded parts | `src/replica/liveness.rs::ten_thousand_that_die_together_end_in_bounded_parts_and_the_living_live` `src/namespace/tests/requests.rs::an_expiry_misses_a_session_that_stirred` |
//! | The client learns of its expiry | of jeopardy by its own clock before | `src/client/machine/tests.rs::the_lease_runs_from_the_sending_of_the_ping_and_calls_wait_in_jeopardy` |
//! | Local sessions |  | absent: whether a session lives is asked of the log, whoever serves it |
//!
//! # ZooKeeper: guarantees
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Linearizable writes | likewise | `tests/sim/main.rs::fresh_seeds` `tests/sim/linearizable.rs::a_stale_read_and_a_lost_write_have_no_order` |
//! | FIFO client order | likewise | `tests/sim/main.rs::fresh_seeds` `src/client/machine/tests.rs::after_a_reconnection_each_unanswered_call_is_sent_once_in_order` |
//! | Single system image | an answer is never older than one before | `src/client/machine/tests.rs::a_replica_that_goes_backwards_is_left` |
//! | Atomicity | likewise | `src/namespace/tests/refusals.rs::each_refusal_is_the_right_one_and_changes_no_node` `src/namespace/tests/requests.rs::a_multi_sees_its_own_work_under_one_revision` `tests/process/txn.rs::each_transaction_is_there_once_and_whole_though_leaders_die` |
//! | Reliability | likewise | `tests/process/crashes.rs::all_are_killed_at_once_and_lose_nothing` `tests/process/crashes.rs::the_power_goes_for_all_replicas_in_mid_batch` |
//! | Timeliness (tens of seconds) | reads are linearizable by default | `tests/sim/main.rs::fresh_seeds` `tests/process/crashes.rs::a_leader_paused_past_its_lease_serves_nothing_stale` |
//!
//! # ZooKeeper: replication and operations
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Zab: discovery, synchronisation, broadcast | phase 1, catch-up, phase 2 | `tests/paxos/golden.rs::the_replicas_say_what_the_golden_files_say` `tests/process/images.rs::a_member_that_the_log_does_not_reach_is_sent_an_image_and_killed_in_the_midst_of_it` |
//! | Leader election | a probe, then a ballot | `tests/paxos/random.rs::no_schedule_makes_two_values_of_one_slot_and_a_healed_cell_goes_on` |
//! | Dynamic reconfiguration | one member at a time | `tests/process/members.rs::a_fourth_replica_joins_elsewhere_and_the_leader_is_removed` |
//! | Weighted and hierarchical quorums |  | later: witness, weighted, hierarchical and flexible quorums |
//! | Oracle quorum |  | later: witness, weighted, hierarchical and flexible quorums |
//! | Observers and observer-masters |  | later: learners and observers that serve reads |
//! | Read-only mode |  | later: read-only mode |
//! | Fuzzy snapshots and a log of transactions | images of one revision, and the journal | `src/namespace/tests/images.rs::an_image_and_its_tail_equal_a_replay` |
//! | Snapshot compression | images are LZ4 blocks | `src/replica/image_file.rs::rows_take_less_room_than_they_say_and_no_length_is_believed` |
//! | Snapshot integrity (Adler-32 at its end) | a sum of each piece, and BLAKE3 of the whole image at its end | `src/replica/image_file.rs::whole_pieces_that_are_not_those_that_were_written_are_refused_by_the_hash` `tests/process/images.rs::images_of_whole_pieces_that_are_not_all_there_in_order_are_not_started_from` |
//! | Autopurge | the journal is trimmed behind images | `tests/process/images.rs::the_log_stays_bounded_and_all_are_killed_at_any_point_of_it` |
//! | Snapshot and restore by the admin server | `quorate snapshot` | `tests/process/snapshots.rs::a_cell_is_saved_under_load_and_restored_as_another` `tests/process/snapshots.rs::what_is_no_whole_snapshot_is_refused` |
//! | snapshot.trust.empty, forceSync=no | neither is needed, nor can be had: an empty disk has no vote until it has caught up, and what was acknowledged is on a majority of disks | `tests/process/members.rs::a_lost_disk_is_replaced_and_then_another_replica_may_fail` `tests/process/crashes.rs::the_power_goes_for_all_replicas_in_mid_batch` |
//! | Tree digest | likewise, and who differs stops | `tests/sim/divergence.rs::a_replica_that_differs_from_a_majority_stops_and_the_others_go_on` `tests/process/divergence.rs::a_replica_whose_state_differs_ends_and_the_others_go_on` |
//! | Request throttling | bounds of what may wait and of what each principal may ask, and a typed refusal | `tests/process/throttle.rs::a_flood_waits_and_keeps_its_session_while_others_pass_it` `src/client/machine/tests/refusing.rs::a_refused_request_and_all_behind_it_are_sent_again` `src/client/machine/tests/refusing.rs::reads_asked_before_a_refused_request_are_not_asked_again` `src/client/machine/tests.rs::no_more_is_under_way_than_the_server_takes` |
//! | Connection throttling | bounds of connections and of what each may wait for | `tests/runtime.rs::more_arrivals_than_places_are_closed_and_the_rest_is_served` `src/front/tests.rs::a_cell_without_room_for_a_session_asks_to_wait` |
//! | Response cache | every answer is of nodes in memory; clients may keep theirs | `tests/process/caching.rs::what_is_kept_is_never_stale_though_leaders_die` |
//! | leaderServes=no | `prefer=follower`, by each client: the leader is left to its writes | `src/client/machine/tests/moving.rs::a_client_that_prefers_followers_leaves_the_leader_while_there_is_another` |
//! | TLS, reloaded certificates, FIPS |  | later: TLS |
//! | SASL, x509 |  | later: SASL |
//! | Schemes ip, digest, world, auth, super | likewise, and `group:` | `tests/process/acls.rs::an_address_is_a_principal_and_a_wrong_password_is_nobody` `src/namespace/tests/acls.rs::every_operation_by_everybody_in_every_form_is_judged_by_the_right_list` |
//! | READ WRITE CREATE DELETE ADMIN | and lock | `src/namespace/tests/acls.rs::every_operation_by_everybody_in_every_form_is_judged_by_the_right_list` `src/namespace/tests/acls.rs::every_reading_by_everybody_is_judged` `src/front/tests/hidden.rs::every_watch_of_everybody_tells_what_may_be_seen_and_nothing_else` |
//! | Audit log |  | later: audit log |
//! | 4-letter words | `quorate status`, `quorate session`, `quorate doctor` | `tests/process/refusals.rs::who_cannot_be_reached_is_listed_with_the_cause` `tests/process/host.rs::the_doctor_tells_a_serving_replica_from_a_stranger` |
//! | AdminServer |  | later: admin server |
//! | JMX |  | later: JMX |
//! | Prometheus |  | later: metrics endpoint |
//! | zkCli | `quorate shell` | `tests/process/shell.rs::every_plain_command_is_one_of_the_prompt` |
//! | zkSnapShotToolkit, zkTxnLogToolkit, snapshot comparer | `quorate inspect` | `tests/process/images.rs::a_damaged_image_costs_a_longer_replay_and_nothing_else` `tests/process/storage.rs::what_rots_beneath_a_running_replica_is_found_and_replaced` |
//! | zk-smoketest | `quorate bench`, which verifies its answers | `tests/process/bench.rs::a_curve_is_measured_verified_and_written_down` |
//! | TLA+ specifications | the simulator, and random schedules of Paxos alone | `tests/paxos/random.rs::no_schedule_makes_two_values_of_one_slot_and_a_healed_cell_goes_on` |
//!
//! # ZooKeeper: recipes, with those of its library Curator
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Name service, configuration | `Setting` | `tests/process/recipes.rs::a_setting_is_followed_across_leaders` |
//! | Group membership, service discovery | `Group` | `tests/process/recipes.rs::members_are_those_whose_sessions_live` `tests/process/recipes/losses.rs::the_list_of_a_service_names_all_who_live_and_nobody_who_is_gone` |
//! | Barrier | `Barrier` | `tests/process/recipes.rs::a_barrier_holds_all_and_lets_all_go` |
//! | Double barrier | `DoubleBarrier` | `tests/process/recipes.rs::all_begin_together_and_end_together` |
//! | Queue, priority queue | `Queue` | `tests/process/recipes.rs::every_entry_is_taken_once` `tests/process/recipes/losses.rs::what_is_queued_by_priority_is_taken_in_order_and_once_though_the_leader_dies` |
//! | Lock without a herd | `lock` | `src/namespace/tests/locks.rs::a_hand_over_tells_as_much_however_many_wait` `tests/process/locks.rs::hundreds_wait_and_each_has_its_turn_once` `tests/process/recipes/herds.rs::what_one_lets_go_wakes_one_however_many_wait` |
//! | Recoverable errors with a GUID | requests are numbered, so nothing has to be looked for | `tests/process/crashes.rs::connections_break_all_the_time_and_each_request_is_applied_once` |
//! | Shared lock | `LockOptions::shared`, `ReadWriteLock` | `tests/process/recipes.rs::writers_are_alone_and_readers_are_not` |
//! | Revocable shared lock | by whoever may delete the node | `src/namespace/tests/locks.rs::a_deleted_node_takes_its_lock_along` |
//! | Two-phase commit | within one cell a `txn` | `tests/process/txn.rs::a_transaction_takes_one_branch_whole` |
//! | Leader election | `Election`, `quorate elect` | `tests/process/recipes.rs::one_leads_at_a_time_and_all_know_who` `tests/process/recipes.rs::a_term_outlives_leaders_of_the_cell_and_passes_on_when_it_is_resigned` |
//! | Rendezvous | `Rendezvous` | `tests/process/recipes.rs::who_waits_for_word_gets_it_and_never_that_of_one_who_is_gone` |
//! | Semaphores and leases | `Semaphore` | `tests/process/recipes.rs::no_more_hold_permits_than_there_are` |
//! | Counters | `Counter` | `tests/process/recipes.rs::every_addition_counts_once` |
//! | Caches of nodes and trees | a scan, then a recursive watch from its revision | `tests/process/watching.rs::watchers_at_every_replica_see_every_revision_while_leaders_die` |
//!
//! # Neither has it
//!
//! | there | here | shown by |
//! |---|---|---|
//! | Logs: append, read, tail, trim, seal | `Log` | `tests/process/logs.rs::appends_are_there_once_in_order_while_leaders_die` `src/namespace/tests/logs.rs::every_version_of_a_log_stays_what_it_was` |
//! | Writes fenced in the log | `LockGuard::guarded` | `src/namespace/tests/locks.rs::a_stale_sequencer_is_refused_in_every_kind_of_request` `tests/process/guarded.rs::each_write_under_a_lock_is_done_while_it_is_held_and_by_no_stale_sequencer` |
//! | Exactly once | results are replicated state | `src/namespace/tests/requests.rs::a_window_sent_again_is_told_what_it_was_told` `src/client/machine/random.rs::each_request_is_applied_once_in_order_and_every_call_is_answered` |
