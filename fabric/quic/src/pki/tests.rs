use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::*;
use crate::identity::{Files, Identity};

/// A directory that is gone with it.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pki-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn authority(dir: &Dir) -> Authority {
    Authority::create(&dir.0, "test", Validity::days(30).unwrap()).unwrap()
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_made_makes_an_identity() {
    let dir = Dir::new("identity");
    let made = authority(&dir);
    let files = made.issue(
        node(7),
        &["tor-7.example".to_owned(), "10.0.0.7".to_owned()],
        Validity::days(20).unwrap(),
    );
    let files = files.unwrap();
    let identity = Identity::open(&files).unwrap();
    assert_eq!(identity.node(), node(7));
    let facts = facts(&files.certificate).unwrap().swap_remove(0);
    assert_eq!((facts.node, facts.is_ca), (Some(node(7)), false));
    assert_eq!(facts.names, ["0000000000000007.node.smartswitch.internal", "tor-7.example", "10.0.0.7"]);
    assert_eq!(facts.issuer, made.facts().subject);
    assert!(facts.is_valid_at(SystemTime::now()));
    assert!(!facts.is_valid_at(SystemTime::now() + Duration::from_secs(21 * 86_400)));
    assert_eq!(identity.expires(), facts.not_after);
}

#[test]
fn keys_are_their_owners_only() {
    let dir = Dir::new("modes");
    let files = authority(&dir).issue(node(1), &[], Validity::days(1).unwrap()).unwrap();
    assert_eq!(mode(&dir.0), 0o700);
    assert_eq!([mode(&files.key), mode(&dir.0.join("ca.key"))], [0o600; 2]);
}

#[test]
fn nothing_is_overwritten() {
    let dir = Dir::new("overwrite");
    let made = authority(&dir);
    let days = Validity::days(1).unwrap();
    let before = std::fs::read(dir.0.join("ca.key")).unwrap();
    assert!(matches!(Authority::create(&dir.0, "test", days), Err(PkiError::Exists(_))));
    assert_eq!(std::fs::read(dir.0.join("ca.key")).unwrap(), before);
    let files = made.issue(node(1), &[], days).unwrap();
    let before = std::fs::read(&files.key).unwrap();
    assert!(matches!(made.issue(node(1), &[], days), Err(PkiError::NodeExists { .. })));
    // A key without its certificate is in the way, too.
    std::fs::remove_file(&files.certificate).unwrap();
    assert!(matches!(made.issue(node(1), &[], days), Err(PkiError::NodeExists { .. })));
    assert_eq!(std::fs::read(&files.key).unwrap(), before);
}

#[test]
fn a_renewed_certificate_keeps_key_and_names() {
    let dir = Dir::new("renew");
    let made = authority(&dir);
    let names = ["10.0.0.1".to_owned()];
    assert!(matches!(
        made.renew(node(1), &[], Validity::days(1).unwrap()),
        Err(PkiError::NothingToRenew { .. })
    ));
    let files = made.issue(node(1), &names, Validity::days(1).unwrap()).unwrap();
    let old = facts(&files.certificate).unwrap().swap_remove(0);
    let key = std::fs::read(&files.key).unwrap();
    assert_eq!(made.renew(node(1), &[], Validity::days(9).unwrap()).unwrap(), files);
    let new = facts(&files.certificate).unwrap().swap_remove(0);
    assert_eq!((&new.names, &new.public_key), (&old.names, &old.public_key));
    assert_eq!(std::fs::read(&files.key).unwrap(), key);
    assert!(new.not_after > old.not_after);
    assert_ne!(new.serial, old.serial);
    Identity::open(&files).unwrap();
}

#[test]
fn what_cannot_be_is_said() {
    let dir = Dir::new("errors");
    assert!(matches!(Authority::open(&dir.0), Err(PkiError::NoAuthority(_))));
    let made = authority(&dir);
    let error = made.issue(node(1), &[], Validity::days(31).unwrap()).unwrap_err();
    assert!(matches!(error, PkiError::Outlives { .. }), "{error}");
    let error = made.issue(node(1), &["a b".to_owned()], Validity::days(1).unwrap()).unwrap_err();
    assert!(matches!(error, PkiError::Name(_)), "{error}");
    assert!(matches!(Validity::days(u32::MAX), Err(PkiError::TooLong)));
    let error = facts(&dir.0.join("ca.key")).unwrap_err();
    assert!(error.to_string().contains("holds no certificate"), "{error}");
    // The key of another authority.
    let other = Dir::new("errors-other");
    authority(&other);
    std::fs::copy(other.0.join("ca.key"), dir.0.join("ca.key")).unwrap();
    let error = Authority::open(&dir.0).err().unwrap();
    assert!(error.to_string().contains("it is not the key of"), "{error}");
}

#[test]
fn an_identity_that_others_would_refuse_is_refused_here() {
    let dir = Dir::new("refused");
    let made = authority(&dir);
    let good = made.issue(node(1), &[], Validity::days(1).unwrap()).unwrap();
    let refused = |files: Files| Identity::open(&files).unwrap_err().to_string();

    let other = Dir::new("refused-other");
    authority(&other);
    let stranger = refused(Files { ca: other.0.join("ca.crt"), ..good.clone() });
    assert!(stranger.contains("0000000000000001.crt"), "{stranger}");

    let second = made.issue(node(2), &[], Validity::days(1).unwrap()).unwrap();
    let mixed = refused(Files { key: second.key.clone(), ..good.clone() });
    assert!(mixed.contains(".key"), "{mixed}");

    let nameless = refused(Files { certificate: good.ca.clone(), key: dir.0.join("ca.key"), ..good.clone() });
    assert!(nameless.contains("it names no node"), "{nameless}");

    let past = |seconds: u64| SystemTime::now() - Duration::from_secs(seconds);
    let expired = made.issue(node(3), &[], Validity { from: past(100), until: past(10) }).unwrap();
    let expired = refused(expired);
    assert!(expired.contains("expired"), "{expired}");

    let missing = refused(Files { ca: dir.0.join("nowhere.crt"), ..good });
    assert!(missing.contains("nowhere.crt") && missing.contains("check the path"), "{missing}");
}
