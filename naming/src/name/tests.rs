use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// Components of all kinds, short ones that often begin alike.
fn parts() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let byte = prop_oneof![any::<u8>(), prop::sample::select(b"ab./%=".to_vec())];
    let value = prop_oneof![
        prop::collection::vec(byte, 0..4),
        prop::collection::vec(any::<u8>(), 250..260),
        any::<u64>().prop_map(tlv::integer),
    ];
    let kind = prop::sample::select(vec![8, 8, 8, 32, 50, 54, 252, 253, 65535]);
    prop::collection::vec((kind, value), 0..6)
}

fn components(parts: &[(u64, Vec<u8>)]) -> Vec<Component<'_>> {
    let kind = |number| ComponentType::new(number).unwrap();
    parts.iter().map(|(number, value)| Component::typed(kind(*number), value).unwrap()).collect()
}

proptest! {
    #[test]
    fn components_come_back(parts in parts()) {
        let components = components(&parts);
        let name = Name::of(components.iter().copied()).unwrap();
        prop_assert_eq!(name.as_name().components().collect::<Vec<_>>(), components.clone());
        prop_assert_eq!(name.as_name().len(), components.len());
        prop_assert_eq!(name.to_string().parse::<Name>(), Ok(name.clone()));
        let mut tlv = Vec::new();
        name.as_name().write_tlv(&mut tlv);
        tlv.push(7);
        prop_assert_eq!(Name::from_tlv(&tlv), Ok((name.as_name(), &[7][..])));
    }

    #[test]
    fn the_order_of_bytes_is_the_canonical_order(one in parts(), other in parts()) {
        let (one, other) = (components(&one), components(&other));
        let names = [&one, &other].map(|parts| Name::of(parts.iter().copied()).unwrap());
        prop_assert_eq!(names[0].cmp(&names[1]), one.cmp(&other));
    }

    #[test]
    fn prefixes_are_those_of_the_components(parts in parts(), other in parts()) {
        let (parts, other) = (components(&parts), components(&other));
        let name = Name::of(parts.iter().copied()).unwrap();
        let stranger = Name::of(other.iter().copied()).unwrap();
        prop_assert_eq!(name.as_name().starts_with(stranger.as_name()), parts.starts_with(&other));
        let prefixes: Vec<Name> = name.as_name().prefixes().map(NameRef::to_name).collect();
        let expected: Vec<Name> =
            (0..=parts.len()).rev().map(|count| Name::of(parts[..count].iter().copied()).unwrap()).collect();
        prop_assert_eq!(&prefixes, &expected);
        for (prefix, count) in expected.iter().zip((0..=parts.len()).rev()) {
            prop_assert_eq!(name.as_name().prefix(count), prefix.as_name());
            prop_assert!(name.as_name().starts_with(prefix.as_name()));
            let rest = name.as_name().strip_prefix(prefix.as_name()).unwrap();
            prop_assert_eq!(rest.components().collect::<Vec<_>>(), parts[count..].to_vec());
        }
    }

    #[test]
    fn any_bytes_are_a_name_or_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(name) = NameRef::from_bytes(&bytes) {
            let again = Name::of(name.components()).unwrap();
            prop_assert_eq!(again.as_bytes(), &bytes);
        }
        let _ = Name::from_tlv(&bytes);
        let _ = String::from_utf8_lossy(&bytes).parse::<Name>();
    }
}

#[test]
fn an_ndn_name_has_its_published_bytes() {
    // Type 7, length 9; "8=ndn"; "54" with the integer 256.
    let bytes = [7, 9, 8, 3, b'n', b'd', b'n', 54, 2, 1, 0];
    let (decoded, rest) = Name::from_tlv(&bytes).unwrap();
    assert_eq!((decoded.to_string().as_str(), rest), ("/ndn/v=256", &[][..]));
}

#[test]
fn what_is_no_name() {
    let error = |bytes: &[u8]| NameRef::from_bytes(bytes).unwrap_err();
    assert_eq!(error(&[8, 3, b'a']), NameError::Truncated { missing: 2 });
    assert_eq!(error(&[8, 1, b'a', 8]), NameError::Truncated { missing: 1 });
    assert_eq!(error(&[0, 0]), NameError::BadType(0));
    assert_eq!(error(&[8, 0, 253, 0, 8, 0]), NameError::NotShortest { at: 2 });
    assert_eq!(
        error(&[1, 1, 0]),
        NameError::BadDigestLength { kind: ComponentType::IMPLICIT_DIGEST, len: 1 }
    );
    assert_eq!(Name::from_tlv(&[8, 0]).unwrap_err(), NameError::NotAName(8));
    assert_eq!(error(&[8, 0].repeat(MAX_COMPONENTS + 1)), NameError::TooManyComponents);
    assert_eq!(Name::of([Component::generic(&[0; MAX_LEN])]), Err(NameError::TooLong));
    assert!(NameRef::from_bytes(&[8, 0].repeat(MAX_COMPONENTS)).is_ok());
}

#[test]
fn children_and_parents() {
    let pool = name("/mc/web");
    let key = pool.as_name().child(Component::generic(b"k")).unwrap();
    assert_eq!(key, name("/mc/web/k"));
    assert_eq!(key.as_name().parent(), Some(pool.as_name()));
    assert_eq!(NameRef::default().parent(), None);
    let full = Name::of([Component::generic(b"a"); MAX_COMPONENTS]).unwrap();
    assert_eq!(full.as_name().child(Component::generic(b"b")), Err(NameError::TooManyComponents));
}

#[test]
fn maps_are_asked_without_a_name_of_ones_own() {
    let names = ["/", "/mc", "/mc/web", "/hdfs"].map(name);
    let hashed: HashMap<Name, usize> = names.iter().cloned().zip(0..).collect();
    let sorted: BTreeMap<Name, usize> = names.iter().cloned().zip(0..).collect();
    let asked = name("/mc/web/user/42");
    let longest = |prefix: &NameRef<'_>| hashed.get(prefix.as_bytes()).copied();
    assert_eq!(asked.as_name().prefixes().find_map(|prefix| longest(&prefix)), Some(2));
    let under: Vec<String> = sorted
        .range::<[u8], _>((Bound::Included(name("/mc").as_bytes()), Bound::Unbounded))
        .take_while(|(other, _)| other.as_name().starts_with(name("/mc").as_name()))
        .map(|(other, _)| other.to_string())
        .collect();
    assert_eq!(under, ["/mc", "/mc/web"]);
}
