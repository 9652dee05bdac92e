//! What is applied is read again; earlier formats are taken over, later ones refused.

use super::super::disk::sim::World;
use super::*;
use crate::store::partition::{RetentionClass, Span};
use crate::store::templates::{SegmentTemplates, TemplateFacts, TemplateId};

fn row(id: u64) -> SegmentRow {
    let at = Timestamp(1_795_222_800_000_000_000);
    SegmentRow {
        id,
        signal: Signal::Logs,
        project: ProjectId(3),
        partition: Partition::of(at, Span::Hour, RetentionClass(1)),
        level: 2,
        rows: 10,
        first: at,
        last: at.saturating_add(5),
        bytes: 1000,
        raw_bytes: 9000,
        crc: 77,
        cleared: 4,
    }
}

#[test]
fn what_was_applied_is_read_again() {
    let disk = Disk::Sim(World::new());
    let path = Path::new("/catalog.redb");
    let catalogue = Catalogue::open(&disk, path).expect("an empty disk");
    let keys = vec![(5, Timestamp(100)), (6, Timestamp(200))];
    let watermarks = Watermarks {
        sealed: [4, 9, 2],
        low: 7,
    };
    let edit = Edit {
        insert: vec![row(1), row(2)],
        watermarks: Some(watermarks),
        keys: Some((1, keys.clone())),
        ..Edit::default()
    };
    catalogue.apply(&edit).expect("a good disk");
    drop(catalogue);

    let catalogue = Catalogue::open(&disk, path).expect("a good disk");
    let content = catalogue.read(path).expect("a good disk");
    assert_eq!(content.segments, [row(1), row(2)]);
    assert_eq!((content.next_segment, content.keys), (3, keys));
    assert_eq!(content.watermarks, watermarks);

    let edit = Edit {
        remove: vec![1],
        keys_since: Timestamp(201),
        ..Edit::default()
    };
    catalogue.apply(&edit).expect("a good disk");
    let content = catalogue.read(path).expect("a good disk");
    assert_eq!((content.segments, content.keys), (vec![row(2)], vec![]));
}

#[test]
fn catalogue_of_format_1_is_taken_over_and_keeps_what_it_has() {
    let disk = Disk::Sim(World::new());
    let path = Path::new("/catalog.redb");
    let catalogue = Catalogue::open(&disk, path).expect("an empty disk");
    let old = SegmentRow {
        cleared: 0,
        ..row(1)
    };
    let edit = Edit {
        insert: vec![old.clone()],
        ..Edit::default()
    };
    catalogue.apply(&edit).expect("a good disk");
    let txn = catalogue.database.begin_write().expect("a good disk");
    txn.delete_table(DELETIONS).expect("a good disk");
    txn.delete_table(CLASSES).expect("a good disk");
    let mut state = txn.open_table(STATE).expect("a good disk");
    state.insert(FORMAT, 1).expect("a good disk");
    drop(state);
    txn.commit().expect("a good disk");
    drop(catalogue);
    for _ in 0..2 {
        let catalogue = Catalogue::open(&disk, path).expect("migrated");
        let content = catalogue.read(path).expect("a good disk");
        assert_eq!(content.segments, std::slice::from_ref(&old));
        assert_eq!(content.deletions, []);
    }
}

#[test]
fn oldest_finished_deletions_are_forgotten() {
    use super::super::deletion::Stage;
    let disk = Disk::Sim(World::new());
    let catalogue = Catalogue::open(&disk, Path::new("/catalog.redb")).expect("an empty disk");
    let kept = DELETIONS_KEPT_MAX as u64;
    for number in 1..=kept + 3 {
        let edit = Edit {
            delete: Some(Deletion {
                number,
                stage: if number == 1 {
                    Stage::Hidden
                } else {
                    Stage::Erased
                },
                signals: [true, false],
                range: crate::model::TimeRange::ALL,
                before: number,
                requested: Timestamp(number),
                done: Timestamp(0),
                erased: [number, 0],
                left_files: 2,
                by: "somebody".to_owned(),
                shape: "n:?".to_owned(),
            }),
            ..Edit::default()
        };
        catalogue.apply(&edit).expect("a good disk");
    }
    let left = catalogue.deletions().expect("a good disk");
    assert_eq!(left.len(), DELETIONS_KEPT_MAX);
    assert_eq!(
        (left[0].number, left[1].number),
        (1, 5),
        "the pending one stays"
    );
    assert_eq!((left[1].left_files, &*left[1].by), (2, "somebody"));
}

#[test]
fn downgrade_is_refused() {
    let disk = Disk::Sim(World::new());
    let path = Path::new("/catalog.redb");
    let catalogue = Catalogue::open(&disk, path).expect("an empty disk");
    let txn = catalogue.database.begin_write().expect("a good disk");
    let mut state = txn.open_table(STATE).expect("a good disk");
    state
        .insert(FORMAT, FORMAT_VERSION + 1)
        .expect("a good disk");
    drop(state);
    txn.commit().expect("a good disk");
    drop(catalogue);
    let refused = Catalogue::open(&disk, path).expect_err("refused");
    assert!(
        refused.to_string().contains("downgrade refused"),
        "{refused}"
    );
}

/// What segment `id` says of so many templates that texts of several segments share a page.
fn mined(id: u64) -> Mined {
    let letters = |n: u64| {
        n.to_string()
            .bytes()
            .map(|b| char::from(b + 49))
            .collect::<String>()
    };
    let texts: Vec<Box<str>> = (0..30)
        .map(|n| {
            format!(
                "planted {} {}",
                letters(id),
                letters(n).repeat(1 + 40 * n as usize)
            )
            .into()
        })
        .collect();
    let mut facts: Vec<(TemplateFacts, Box<str>)> = texts
        .into_iter()
        .map(|text| {
            let facts = TemplateFacts {
                id: TemplateId::of(text.as_bytes()),
                levels: [1; 7],
                first: Timestamp(1),
                last: Timestamp(2),
                services: vec![0],
            };
            (facts, text)
        })
        .collect();
    facts.sort_by_key(|(facts, _)| facts.id);
    let (facts, texts): (Vec<TemplateFacts>, Vec<Box<str>>) = facts.into_iter().unzip();
    let services = vec!["planted service".into()];
    let pairs = (0..facts.len() as u32).map(|place| (place, 0));
    Mined {
        templates: SegmentTemplates::new(services, facts, 0, 1, pairs),
        texts,
    }
}

#[test]
fn wiping_leaves_no_byte_of_what_was_removed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("catalog.redb");
    let catalogue = Catalogue::open(&Disk::Real, &path).expect("an empty directory");
    let holds = |needle: &str| {
        let bytes = std::fs::read(&path).expect("readable");
        bytes.windows(needle.len()).any(|w| w == needle.as_bytes())
    };
    for round in 0..12 {
        // Removed all at once, one by one, and while others stay.
        let ids: Vec<u64> = (0..1 + round % 5).map(|n| 10 * (round + 1) + n).collect();
        let insert = Edit {
            templates: ids.iter().map(|id| (*id, mined(*id))).collect(),
            ..Edit::default()
        };
        catalogue.apply(&insert).expect("a good disk");
        for gone in ids.chunks(1 + round as usize % 3) {
            let remove = Edit {
                remove: gone.to_vec(),
                ..Edit::default()
            };
            catalogue.apply(&remove).expect("a good disk");
        }
        assert!(holds("planted "), "round {round}: free pages keep it");
        let wiped = catalogue.wipe(&Disk::Real, &path);
        assert!(wiped.expect("a good disk"), "round {round}");
        assert!(!holds("planted "), "round {round}");
        assert_eq!(catalogue.template_figures().known, 0);
    }
    // What stays is told as before, and nothing else is left.
    let insert = Edit {
        templates: vec![(7, mined(7)), (8, mined(8))],
        ..Edit::default()
    };
    catalogue.apply(&insert).expect("a good disk");
    let remove = Edit {
        remove: vec![8],
        ..Edit::default()
    };
    catalogue.apply(&remove).expect("a good disk");
    assert!(holds("planted i"));
    let reader = catalogue.database.begin_read().expect("a good disk");
    let wiped = catalogue.wipe(&Disk::Real, &path);
    assert!(!wiped.expect("a good disk"), "a reader needs the old pages");
    drop(reader);
    let wiped = catalogue.wipe(&Disk::Real, &path);
    assert!(wiped.expect("a good disk"));
    assert!(!holds("planted i") && holds("planted h"));
    drop(catalogue);
    let catalogue = Catalogue::open(&Disk::Real, &path).expect("whole");
    let told = catalogue.templates_of(7).expect("a good disk");
    assert_eq!(told, Some(mined(7).templates));
    let of_7 = mined(7);
    for (facts, text) in of_7.templates.facts.iter().zip(&of_7.texts) {
        let kept = catalogue.template(facts.id).expect("a good disk");
        assert_eq!(kept.as_deref(), Some(&**text));
    }
}
