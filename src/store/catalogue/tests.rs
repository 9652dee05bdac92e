//! What is applied is read again; earlier formats are taken over, later ones refused.

use super::super::disk::sim::World;
use super::*;
use crate::store::partition::{RetentionClass, Span};

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
        sealed: [4, 9],
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
