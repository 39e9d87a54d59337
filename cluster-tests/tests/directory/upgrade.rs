//! The data of an earlier release under this one.

use std::path::Path;

use naming::Name;
use naming_directory_client::Client;
use naming_directory_client::wire::Freshness;
use nix::sys::signal::Signal;

use crate::archive::{self, OWNER, archive, tar};
use crate::fleet::Fleet;
use crate::load::Load;

/// The first one that was released.
const OLDEST_FORMAT: u32 = 1;

/// All that was acknowledged to whoever filled the store, and what was written last.
async fn check(client: &Client) {
    archive::check(client).await;
    for (at, value) in [("/in/a/session", "two"), ("/a", "last"), ("/hdfs/z", "last")] {
        let at: Name = at.parse().unwrap();
        let found = client.resolve(&[at.as_name()], Freshness::Linearizable).await.unwrap();
        let route = found[0].route.as_ref().unwrap();
        assert_eq!((&route.prefix, &route.record.value[..]), (&at, value.as_bytes()));
    }
}

#[test]
fn data_of_the_oldest_format_is_served_and_grows_to_three_members() {
    let mut fleet = Fleet::prepare("directory-upgrade", &[]);
    let data = fleet.data(OWNER);
    std::fs::create_dir_all(&data).unwrap();
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../naming/directory/server");
    tar(&["-xzf", archive(&server, OLDEST_FORMAT).to_str().unwrap()], &data);
    fleet.start_alone(OWNER);
    fleet.connect(OWNER);
    let load = Load::start(&fleet, 7);
    load.ask(check);
    load.goes_on("on the data of an earlier release");
    load.publish(0..100);

    for member in [2, 3] {
        fleet.join(member, &[OWNER]);
        fleet.registered(OWNER, member);
        let said = fleet.said(OWNER, &["add-node", &member.to_string()]);
        assert!(said.contains("is a member of 2 shards"), "{said}");
        load.goes_on("with another member");
    }
    fleet.catch_up();
    load.publish(100..200);

    for member in [1, 2, 3] {
        assert!(fleet.stop(member, Signal::SIGTERM).success(), "node {member}");
        load.goes_on("while one is away");
        fleet.start(member);
        fleet.catch_up();
    }
    load.ask(check);
    load.find(0..200);
    let failed = load.check();
    assert_eq!(failed, [""; 0], "growing and restarting need no downtime");
    fleet.agree();
    // By what each has itself.
    let has = |fleet: &Fleet, member: u64| fleet.said(member, &["ls", "/", "--local"]);
    fleet.wait("the same at all three", |fleet| {
        let first = has(fleet, 1);
        [2, 3].iter().all(|member| has(fleet, *member) == first).then_some(())
    });
    assert!(has(&fleet, 3).contains("/hdfs/c1/b/199/v=1"));
}
