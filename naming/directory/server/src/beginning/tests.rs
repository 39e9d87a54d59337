//! Each row of what others may say, and what follows from it.

use super::*;

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn nodes(numbers: &[u64]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(node).collect()
}

/// Node 1 has store 11, node 2 has store 12.
fn store(number: u64) -> StoreId {
    StoreId::new(number + 10).unwrap()
}

fn all(numbers: &[u64]) -> Founders {
    numbers.iter().map(|number| (node(*number), store(*number))).collect()
}

/// Three founders, of which node 1 lost its disk.
fn other() -> Founders {
    Founders::from([(node(1), store(90)), (node(2), store(2)), (node(3), store(3))])
}

/// Node 1.
fn beginning(founders: &[u64], peers: &[u64], written: Founders) -> Beginning {
    let identity = Identity { node: node(1), store: store(1), founders: written, begun: false };
    Beginning::new(identity, &nodes(founders), &nodes(peers))
}

fn says(number: u64, begun: bool, written: &Founders, shards: &[wire::Shard]) -> (NodeId, wire::Description) {
    let founder = |(node, store): (&NodeId, &StoreId)| wire::Founder { node: node.get(), store: store.get() };
    let founders = written.iter().map(founder).collect();
    let beginning = Some(wire::Beginning { store: store(number).get(), begun, founders });
    (node(number), wire::Description { shards: shards.to_vec(), beginning, ..Default::default() })
}

fn new(number: u64) -> (NodeId, wire::Description) {
    says(number, false, &Founders::new(), &[])
}

fn shard(voters: &[u64]) -> wire::Shard {
    wire::Shard { shard: 1, voters: voters.to_vec(), ..Default::default() }
}

/// A release that does not say how it began.
fn before(number: u64, shards: &[wire::Shard]) -> (NodeId, wire::Description) {
    let (node, description) = says(number, true, &Founders::new(), shards);
    (node, wire::Description { beginning: None, ..description })
}

fn voter(by: u64) -> Step {
    Step::Refuse(Refused::Voter { node: node(1), by: node(by), shard: ShardId(1) })
}

#[test]
fn founders_write_down_their_stores_and_then_found() {
    let mut one = beginning(&[1, 2, 3], &[2, 3], Founders::new());
    assert_eq!(one.round(&[]), Step::Wait);
    assert_eq!(one.waiting().ask, nodes(&[2, 3]));
    assert_eq!(one.round(&[new(2)]), Step::Wait);
    let text = one.waiting().text;
    assert!(text.contains("have not answered: 0000000000000003;"), "{text}");
    assert_eq!(one.round(&[new(3)]), Step::WriteDown(all(&[1, 2, 3])), "answers of different rounds do");
    assert_eq!(one.written_down(all(&[1, 2, 3])), Step::Wait);

    assert_eq!(one.round(&[new(2), says(3, false, &all(&[1, 2, 3]), &[])]), Step::Wait);
    let text = one.waiting().text;
    assert!(text.contains("have not agreed: 0000000000000002;"), "{text}");
    assert!(!one.waiting().joins && !one.hears(node(2)), "it takes part in nothing meanwhile");
    assert_eq!(one.round(&[says(2, false, &all(&[1, 2, 3]), &[])]), Step::Found(all(&[1, 2, 3])));
}

#[test]
fn what_another_founder_has_written_down_is_written_down() {
    let mut one = beginning(&[1, 2, 3], &[2, 3], Founders::new());
    assert_eq!(one.round(&[says(2, false, &all(&[1, 2, 3]), &[])]), Step::WriteDown(all(&[1, 2, 3])));
    // Not with other founders.
    let mut one = beginning(&[1, 2, 3], &[2, 3], Founders::new());
    assert_eq!(one.round(&[says(2, false, &all(&[1, 2]), &[])]), Step::Wait);
}

#[test]
fn a_late_founder_founds_as_the_others_did() {
    let mut one = beginning(&[1, 2, 3], &[2, 3], all(&[1, 2, 3]));
    let begun = says(3, true, &all(&[1, 2, 3]), &[shard(&[1, 2, 3])]);
    assert_eq!(one.round(&[begun]), Step::Found(all(&[1, 2, 3])), "one that has begun knows of all");
    let mut one = beginning(&[1, 2, 3], &[2, 3], all(&[1, 2, 3]));
    assert_eq!(one.round(&[says(3, true, &all(&[1, 2, 3]), &[shard(&[2, 3, 4])])]), Step::Wait);
    assert!(one.waiting().joins, "it was removed");
    // What was written down counts, not what the configuration says since.
    let mut one = beginning(&[], &[2], all(&[1, 2, 3]));
    assert_eq!(one.round(&[says(2, false, &all(&[1, 2, 3]), &[])]), Step::Wait);
    assert_eq!(one.waiting().ask, nodes(&[2, 3]));
}

#[test]
fn a_founder_that_lost_its_disk_is_refused() {
    let founders = |told| beginning(&[1, 2, 3], &[2, 3], Founders::new()).round(&[told]);
    let lost = |by| Step::Refuse(Refused::Founder { node: node(1), by: node(by) });
    assert_eq!(founders(says(2, true, &other(), &[shard(&[1, 2, 3])])), voter(2));
    assert_eq!(founders(says(2, true, &other(), &[shard(&[2, 3, 4])])), lost(2), "it was removed");
    assert_eq!(founders(says(2, true, &other(), &[])), lost(2), "both were removed");
    assert_eq!(
        founders(says(2, false, &other(), &[])),
        Step::Refuse(Refused::Founding { node: node(1), by: node(2) }),
        "before anybody founded"
    );
    assert_eq!(founders(before(2, &[shard(&[1, 2, 3])])), voter(2), "an earlier release");
    let leaving = wire::Shard { outgoing: vec![1, 2, 3], ..shard(&[2, 3, 4]) };
    assert_eq!(founders(says(2, true, &Founders::new(), &[leaving])), voter(2));

    // One that is no founder may know it as well.
    let mut one = beginning(&[1, 2, 3], &[2, 3, 4], Founders::new());
    assert_eq!(one.round(&[new(2), new(3), says(4, true, &Founders::new(), &[shard(&[1, 4])])]), voter(4));
    // Before all others are known to be new nothing is written down, however many are.
    let mut one = beginning(&[1, 2, 3, 4, 5], &[2, 3, 4, 5], Founders::new());
    assert_eq!(one.round(&[new(2), new(3), new(4)]), Step::Wait);
}

#[test]
fn a_founder_that_a_directory_does_not_know_waits_to_be_added() {
    for told in [before(2, &[shard(&[2])]), says(2, true, &Founders::new(), &[shard(&[2])])] {
        let mut one = beginning(&[1, 2, 3], &[2, 3], Founders::new());
        assert_eq!(one.round(&[told, new(3)]), Step::Wait);
        assert!(one.waiting().joins && one.hears(node(2)));
    }
    // A peer's own directory is nobody else's.
    let mut one = beginning(&[1, 2, 3], &[2, 3, 4], Founders::new());
    let stranger = says(4, true, &Founders::new(), &[shard(&[4])]);
    assert_eq!(one.round(&[new(2), new(3), stranger]), Step::WriteDown(all(&[1, 2, 3])));
}

#[test]
fn a_node_that_founds_alone_asks_its_peers_before() {
    let founds = Step::Found(all(&[1]));
    let mut one = beginning(&[1], &[2, 3], Founders::new());
    assert_eq!(one.round(&[new(2)]), Step::Wait);
    assert_eq!(one.round(&[new(3)]), founds, "all have answered");

    let mut one = beginning(&[1], &[2, 3], Founders::new());
    for _ in 1..ALONE_ROUNDS {
        assert_eq!(one.round(&[]), Step::Wait);
    }
    assert_eq!(one.round(&[]), founds, "they are silent");

    let mut one = beginning(&[1], &[2, 3], Founders::new());
    assert_eq!(one.round(&[says(2, true, &Founders::new(), &[shard(&[1, 2, 3])])]), voter(2));
    assert_eq!(beginning(&[1], &[], Founders::new()).round(&[]), founds);

    // There is a directory, which it was removed from, or never was in.
    for told in [before(2, &[shard(&[2, 3])]), says(2, true, &Founders::new(), &[shard(&[2, 3])])] {
        let mut one = beginning(&[1], &[2], Founders::new());
        assert_eq!(one.round(&[told]), Step::Wait);
        assert!(one.waiting().joins);
    }
}

#[test]
fn a_late_founder_is_not_refused_by_who_came_later() {
    let written = all(&[1, 2, 3]);
    let mut one = beginning(&[1, 2, 3], &[2, 3, 4], written.clone());
    let newcomer = || says(4, true, &Founders::new(), &[shard(&[1, 4])]);
    assert_eq!(one.round(&[newcomer()]), Step::Wait);
    assert_eq!(one.round(&[says(2, true, &written, &[shard(&[1, 2, 4])])]), Step::Found(written.clone()));
    // No other founder has its store any more.
    let mut one = beginning(&[1, 2, 3], &[2, 3, 4], written);
    assert_eq!(one.round(&[newcomer(), new(2), new(3)]), voter(4));
}

#[test]
fn founders_that_are_written_down_do_not_change_with_the_configuration() {
    let mut one = beginning(&[1, 2, 4], &[2, 4], all(&[1, 2, 3]));
    assert_eq!(one.round(&[new(2), new(4)]), Step::Wait);
    let text = one.waiting().text;
    assert!(text.contains("have not answered: 0000000000000003"), "{text}");
    assert!(text.contains("whatever its configuration says by now: to begin with others, empty"), "{text}");
}

#[test]
fn a_node_that_waits_to_be_added_is_refused_once_somebody_has_it_as_a_voter() {
    let mut one = beginning(&[], &[2], Founders::new());
    assert_eq!(one.round(&[]), Step::Wait);
    assert!(!one.waiting().joins && one.waiting().text.contains("no peer has answered: 0000000000000002"));
    assert!(!one.hears(node(2)), "it has not answered");

    // A founder once, that was removed: nobody counts on it.
    assert_eq!(one.round(&[says(2, true, &other(), &[shard(&[2, 3])])]), Step::Wait);
    let learns = wire::Shard { learners: vec![1], ..shard(&[2, 3]) };
    assert_eq!(one.round(&[says(2, true, &Founders::new(), &[learns])]), Step::Wait);
    assert!(one.waiting().joins && one.hears(node(2)));
    assert_eq!(one.waiting().ask, nodes(&[2, 3]), "members that others name are asked");
    assert!(!one.hears(node(4)));
    assert_eq!(one.waiting().ask, nodes(&[2, 3, 4]), "and who sends messages");
    assert_eq!(one.round(&[before(4, &[shard(&[1, 4])])]), voter(4));
}

#[test]
fn answers_of_nobody_who_was_asked_count_for_nothing_and_the_asked_are_bounded() {
    let mut one = beginning(&[], &[2], Founders::new());
    assert_eq!(one.round(&[before(9, &[shard(&[1])])]), Step::Wait);
    let many: Vec<u64> = (2..5000).collect();
    assert_eq!(one.round(&[before(2, &[shard(&many)])]), Step::Wait);
    assert_eq!(one.waiting().ask.len(), MAX_NAMED);
    (5000..9000).for_each(|number| assert!(!one.hears(node(number))));
    assert_eq!(one.waiting().ask.len(), MAX_ASKED);
}

#[test]
fn a_refusal_says_what_to_do() {
    let text = Refused::Voter { node: node(1), by: node(2), shard: ShardId(1) }.to_string();
    assert!(text.contains("add-node NEW --replace 0000000000000001"), "{text}");
}
