//! The name directory of real nodes, in processes of their own, while they and their network, disks and members fail:
//! no acknowledged write is lost, and no read is stale.
//!
//! | module | what it is |
//! |---|---|
//! | `beginning` | members with new disks: new members, and members that lost theirs |
//! | `fleet` | nodes on addresses of a network namespace, their certificates and configurations |
//! | `load` | clients that write and read, and record what they saw |
//! | `record` | the model by which that is checked |
//! | `spread` | a directory that divides itself, and spreads over its nodes; backups of it |
//! | `upgrade` | the data of an earlier release under this one |
//! | `archive` | that data, as `naming-directory-server` has it for its own tests |
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

#[allow(dead_code, unreachable_pub, reason = "the other tests use the rest")]
#[path = "../../../naming/directory/server/tests/support/archive.rs"]
mod archive;
mod beginning;
mod fleet;
mod load;
mod record;
mod spread;
mod upgrade;

use fleet::Fleet;
use load::Load;
use nix::sys::signal::Signal;

#[test]
fn members_are_killed_and_restarted() {
    let mut fleet = Fleet::found("directory-killed", &[1, 2, 3]);
    let load = Load::start(&fleet, 1);
    load.goes_on("three members");
    let leader = fleet.leader();
    fleet.kill(leader);
    load.goes_on("without its leader");
    assert_ne!(fleet.leader(), leader);
    fleet.start(leader);
    fleet.catch_up();

    let follower = fleet.follower();
    fleet.kill(follower);
    load.goes_on("without a follower");
    // With it, a majority: nothing can be acknowledged until one of them is back.
    let leader = fleet.leader();
    fleet.kill(leader);
    let left = fleet.running()[0];
    fleet.wait("status tells that there is no leader", |fleet| {
        let output = fleet.directory(left, &["status"]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success() && message.contains("has no leader")).then_some(())
    });
    let unanswered = fleet.directory(left, &["ls", "/node"]);
    let message = String::from_utf8_lossy(&unanswered.stderr).into_owned();
    assert!(message.contains("see that a majority of them runs"), "{message}");
    assert!(fleet.directory(left, &["ls", "/node", "--local"]).status.success());
    fleet.start(follower);
    load.goes_on("with a majority again");
    fleet.start(leader);
    fleet.catch_up();

    // Everybody at once, as by a power failure.
    for member in [1, 2, 3] {
        fleet.kill(member);
    }
    for member in [1, 2, 3] {
        fleet.start(member);
    }
    load.goes_on("after all were killed");
    fleet.catch_up();
    load.check();
    fleet.agree();
}

#[test]
fn a_rolling_restart_fails_no_request() {
    let mut fleet = Fleet::found("directory-rolling", &[1, 2, 3]);
    let load = Load::start(&fleet, 2);
    load.goes_on("three members");
    for member in [1, 2, 3] {
        assert!(fleet.stop(member, Signal::SIGTERM).success(), "node {member}");
        load.goes_on("while one is away");
        fleet.start(member);
        fleet.catch_up();
    }
    let failed = load.check();
    assert_eq!(failed, [""; 0], "leaders hand over before they go");
    fleet.agree();
}

#[test]
fn members_are_cut_off_from_one_another() {
    let fleet = Fleet::found("directory-cut", &[1, 2, 3]);
    let load = Load::start(&fleet, 3);
    load.goes_on("three members");
    // The leader still reaches its clients: it must not answer them as if it still led.
    let leader = fleet.leader();
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|member| *member != leader).collect();
    others.iter().for_each(|other| fleet.cut(leader, *other));
    fleet.wait("another leader", |fleet| {
        others.iter().copied().find(|other| fleet.status(*other)["shards"][0]["leader"] == fleet::id(*other))
    });
    load.goes_on("with another leader");
    fleet.heal();
    fleet.catch_up();

    // One way only: it hears, and is not heard.
    let leader = fleet.leader();
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|member| *member != leader).collect();
    others.iter().for_each(|other| fleet.cut_one_way(leader, *other));
    load.goes_on("with a leader that is not heard");
    fleet.heal();
    fleet.catch_up();
    load.check();
    fleet.agree();
}

#[test]
fn a_full_disk_stops_one_member_and_no_other() {
    let mut fleet = Fleet::prepare("directory-full", &[1, 2, 3]);
    fleet.small_disk(3, 48 << 20);
    [1, 2, 3].iter().for_each(|member| fleet.start(*member));
    let load = Load::start(&fleet, 4);
    load.goes_on("three members");
    fleet.fill_disk(3);
    fleet.wait("the member notices", |fleet| {
        (fleet.metric(3, "smartswitch_directory_lives_failed") > 0.0).then_some(())
    });
    load.goes_on("without the member whose disk is full");
    fleet.clear_disk(3);
    fleet.catch_up();
    load.check();
    fleet.agree();
}

#[test]
fn a_directory_grows_from_one_to_three_and_replaces_a_member_while_it_serves() {
    let mut fleet = Fleet::prepare("directory-grows", &[]);
    fleet.start_alone(1);
    fleet.connect(1);
    let load = Load::start(&fleet, 5);
    load.goes_on("one member");
    for member in [2, 3] {
        fleet.join(member, &[1]);
        fleet.registered(1, member);
        let said = fleet.said(1, &["add-node", &member.to_string()]);
        assert!(said.contains("is a member of 1 shard"), "{said}");
        load.goes_on("with another member");
    }
    fleet.catch_up();
    assert_eq!(fleet.voters(3), [1, 2, 3]);

    // The first one is gone for good, disk and all.
    fleet.kill(1);
    load.goes_on("without the first member");
    fleet.join(4, &[2, 3]);
    fleet.registered(2, 4);
    let said = fleet.said(4, &["add-node", "4", "--replace", "1"]);
    assert!(said.contains("in place of 0000000000000001"), "{said}");
    assert_eq!(fleet.voters(2), [2, 3, 4]);
    load.goes_on("with a member in its place");
    fleet.catch_up();

    let said = fleet.said(2, &["remove-node", "4"]);
    assert!(said.contains("is a member of no shard"), "{said}");
    assert_eq!(fleet.voters(2), [2, 3]);
    let failed = load.check();
    assert_eq!(failed, [""; 0], "growing needs no downtime");
    fleet.agree();
}
