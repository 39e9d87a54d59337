//! Members with new disks: those that are new, and those that lost theirs. One that lost its disk forgot what it
//! acknowledged and whom it voted for. Started again as it was, it would elect a leader that lacks what it had, and others
//! counted on.

use std::process::Output;

use crate::fleet::{Fleet, id};
use crate::load::Load;

#[test]
fn a_founder_that_lost_its_disk_is_refused_and_what_it_acknowledged_is_kept() {
    let mut fleet = Fleet::found("directory-lost", &[1, 2, 3]);
    let load = Load::start(&fleet, 7);
    load.goes_on("three members");
    // What comes now is on two disks, one of which is lost.
    fleet.kill(3);
    load.goes_on("without one that has none of it");
    fleet.kill(1);
    fleet.kill(2);
    fleet.lose_disk(2);
    fleet.start(3);
    let said = fleet.start_refused(2);
    assert!(said.contains("its disk was lost or emptied"), "{said}");
    let remedy = format!("add-node NEW --replace {}", id(2));
    assert!(said.contains(&remedy), "{said}");

    fleet.start(1);
    load.goes_on("those that have their disks");
    let said = fleet.start_refused(2);
    assert!(said.contains(&remedy), "also while a majority serves: {said}");

    fleet.join(4, &[1, 3]);
    fleet.registered(1, 4);
    let said = fleet.said(1, &["add-node", "4", "--replace", "2"]);
    assert!(said.contains("in place of 0000000000000002"), "{said}");
    assert_eq!(fleet.voters(3), [1, 3, 4]);
    load.goes_on("with a member in its place");
    fleet.catch_up();
    load.check();
    fleet.agree();
}

#[test]
fn founders_begin_once_all_of_them_run() {
    let mut fleet = Fleet::prepare("directory-late", &[1, 2, 3]);
    let waits = |fleet: &Fleet, node: u64, silent: &[u64]| {
        let silent = silent.iter().map(|node| id(*node)).collect::<Vec<_>>().join(", ");
        fleet.wait("status tells whom the node waits for", |fleet| {
            let Output { status, stderr, .. } = fleet.directory(node, &["status"]);
            let said = String::from_utf8_lossy(&stderr).contains(&format!("have not answered: {silent};"));
            (!status.success() && said).then_some(())
        });
        assert_eq!(fleet.status(node)["shards"], serde_json::json!([]));
        assert!(fleet.metric(node, "smartswitch_directory_waits") > 0.0);
    };
    fleet.start(1);
    let ready = fleet.ready(1);
    assert!(ready.contains("it waits for founders that have not answered"), "{ready}");
    waits(&fleet, 1, &[2, 3]);
    fleet.start(2);
    waits(&fleet, 1, &[3]);
    waits(&fleet, 2, &[3]);
    // Nothing has begun that a restart could do harm to.
    fleet.kill(1);
    fleet.start(1);
    waits(&fleet, 1, &[3]);
    fleet.start(3);
    let load = Load::start(&fleet, 8);
    load.goes_on("all founders");
    assert_eq!(fleet.voters(1), [1, 2, 3]);
    assert_eq!(fleet.metric(3, "smartswitch_directory_waits"), 0.0);

    // From then on a start waits for nobody.
    (1..=3).for_each(|member| fleet.kill(member));
    (1..=2).for_each(|member| fleet.start(member));
    load.goes_on("two of the founders");
    load.check();
}

#[test]
fn a_member_that_was_added_and_lost_its_disk_is_refused() {
    let mut fleet = Fleet::found("directory-lost-added", &[1]);
    let load = Load::start(&fleet, 9);
    for member in [2, 3] {
        fleet.join(member, &[1]);
        fleet.registered(1, member);
        fleet.said(1, &["add-node", &member.to_string()]);
    }
    load.goes_on("three members");
    fleet.kill(2);
    fleet.lose_disk(2);
    let said = fleet.start_refused(2);
    let voter = format!("{} as a voter of shard", id(2));
    assert!(said.contains(&voter), "{said}");
    load.goes_on("without it");

    // Removed, it waits to be added, whether it has a disk or not.
    fleet.said(1, &["remove-node", "2"]);
    fleet.start(2);
    fleet.registered(1, 2);
    fleet.said(1, &["add-node", "2"]);
    assert_eq!(fleet.voters(1), [1, 2, 3]);
    load.goes_on("with a member that was added anew");
    fleet.catch_up();
    load.check();
    fleet.agree();
}
