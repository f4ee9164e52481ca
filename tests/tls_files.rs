//! What is said of certificate files that cannot be used, or not for long.
#![allow(clippy::unwrap_used)]

#[path = "common/certificates.rs"]
mod certificates;

use certificates::Authority;
use portolan::tls::{Contexts, RealmTls, TlsProblem};
use portolan_shards::types::RealmId;
use rcgen::{CertificateParams, date_time_ymd};
use std::path::PathBuf;

fn load(tls: RealmTls) -> Result<Contexts, Vec<TlsProblem>> {
    Contexts::load(&[(RealmId(4), tls)])
}

/// The one problem there is: its file and what it says.
fn problem(tls: RealmTls) -> (PathBuf, String) {
    let mut problems = load(tls).unwrap_err();
    assert_eq!((problems.len(), problems[0].realm), (1, RealmId(4)), "{problems:?}");
    let problem = problems.remove(0);
    (problem.file, problem.what)
}

fn with(authority: &Authority, pair: (PathBuf, PathBuf)) -> RealmTls {
    RealmTls { certificates: vec![pair], roots: Some(authority.roots()), ..RealmTls::default() }
}

#[test]
fn files_that_fit_are_taken() {
    let authority = Authority::new("a");
    let contexts = load(authority.realm(&["a.example"])).unwrap();
    assert!(contexts.warnings().is_empty());
    assert!(contexts.server(RealmId(4)).is_some() && contexts.client(RealmId(4)).is_some());
    assert!(contexts.server(RealmId(5)).is_none() && contexts.client(RealmId(5)).is_none());
}

#[test]
fn a_realm_without_a_certificate_only_dials() {
    let authority = Authority::new("a");
    let contexts = load(RealmTls { roots: Some(authority.roots()), ..RealmTls::default() }).unwrap();
    assert!(contexts.server(RealmId(4)).is_none() && contexts.client(RealmId(4)).is_some());
}

#[test]
fn each_problem_names_its_file() {
    let authority = Authority::new("a");
    let (chain, key) = authority.sign(&["a.example"]);
    let (_, other) = authority.sign(&["b.example"]);
    let gone = PathBuf::from("/nowhere/a.pem");
    let cases = [
        (with(&authority, (chain.clone(), other.clone())), &other, "not the key of the certificate"),
        (with(&authority, (chain.clone(), chain.clone())), &chain, "no private key in it"),
        (with(&authority, (key.clone(), key.clone())), &key, "no certificate in it"),
        (with(&authority, (gone.clone(), key.clone())), &gone, "cannot be read"),
        (with(&authority, (chain.clone(), gone.clone())), &gone, "cannot be read"),
        (RealmTls { roots: Some(gone.clone()), ..RealmTls::default() }, &gone, "cannot be read"),
        (
            RealmTls { clients: Some(key.clone()), ..with(&authority, (chain.clone(), key.clone())) },
            &key,
            "no certificate",
        ),
    ];
    for (tls, file, what) in cases {
        let (named, told) = problem(tls);
        assert!(&named == file && told.contains(what), "{}: {told}", named.display());
    }
}

#[test]
fn all_problems_of_all_realms_are_told() {
    let authority = Authority::new("a");
    let gone = || RealmTls { roots: Some("/nowhere".into()), ..authority.realm(&["a.example"]) };
    let realms = [(RealmId(1), gone()), (RealmId(2), authority.realm(&["b.example"])), (RealmId(3), gone())];
    let problems = Contexts::load(&realms).unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.realm.0).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn certificates_out_of_date_are_worth_a_warning() {
    let authority = Authority::new("a");
    for (from, to, what) in [(2000, 2001, "expired"), (2090, 2095, "not valid before")] {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let pair = authority.sign_as("old", &params);
        let contexts = load(with(&authority, pair.clone())).unwrap();
        let [warning] = contexts.warnings() else { panic!("{:?}", contexts.warnings()) };
        assert!(warning.file == pair.0 && warning.what.contains(what), "{warning}");
    }
}
