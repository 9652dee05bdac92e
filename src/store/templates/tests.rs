use proptest::prelude::*;

use super::*;
use crate::model::chunk::Request;
use crate::model::{LogChunk, ProjectId, Signal, ValueRef, write};
use crate::store::disk::sim::World;
use crate::store::fixture::{SECOND, START, batch_of, config, sim, wanted};
use crate::store::{Batch, BatchChunk, Opened, Store, open};

/// Hash, levels, first place, length and service of a template.
type Row = (u64, [u64; 7], u64, u64, u32);

/// Rows, raw records and blocks.
fn facts() -> impl Strategy<Value = (Vec<Row>, u64, u32)> {
    let levels = prop::array::uniform7(0u64..9);
    let one = (1u64.., levels, 0u64..1 << 40, 0u64..1 << 40, 0u32..3);
    (prop::collection::vec(one, 0..20), 0u64..5, 1u32..50)
}

proptest! {
    #[test]
    fn what_is_written_is_read((rows, raw, n_blocks) in facts()) {
        let mut facts: Vec<TemplateFacts> = rows
            .iter()
            .map(|(id, levels, first, span, service)| TemplateFacts {
                id: TemplateId(*id),
                levels: *levels,
                first: START.saturating_add(*first),
                last: START.saturating_add(first + span),
                services: vec![*service],
            })
            .collect();
        facts.sort_by_key(|facts| facts.id);
        facts.dedup_by_key(|facts| facts.id);
        let pairs = (0..facts.len() as u32).map(|place| (place, place % n_blocks));
        let services = ["a", "b", "c"].map(Box::from).to_vec();
        let templates = SegmentTemplates::new(services, facts, raw, n_blocks, pairs);
        let mut row = encode(&templates);
        prop_assert_eq!(&decode(&row).expect("just written"), &templates);
        for facts in &templates.facts {
            let blocks = templates.blocks([facts.id].into_iter()).expect("few");
            prop_assert_eq!(blocks.len(), 1);
        }
        // Cut off anywhere it is no row, and never a panic.
        row.pop();
        while row.pop().is_some() {
            let _damaged = decode(&row);
        }
    }
}

fn opened(world: &std::sync::Arc<World>) -> Opened {
    open(config(), sim(world), START).expect("a good disk")
}

#[track_caller]
fn check_agreement(store: &Store) {
    let snapshot = store.snapshot();
    let segments = snapshot.segments.list.iter().map(|segment| &**segment);
    let problems = problems(&snapshot.catalogue, segments).expect("a good disk");
    assert_eq!(problems, Vec::<String>::new());
}

fn push(opened: &mut Opened, service: &str, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let at = START.saturating_add(number * SECOND);
        let batch = batch_of(service, Signal::Logs, number, 5, at, at);
        opened.writer.append(batch).expect("a good disk");
    }
    opened.writer.seal(Signal::Logs).expect("a good disk");
    while opened.sealer.step().expect("a good disk") {}
}

#[test]
fn templates_come_and_go_with_their_segments() {
    let world = World::new();
    let mut it = opened(&world);
    for round in 0..9 {
        push(&mut it, "shop", round * 10..round * 10 + 10);
        check_agreement(&it.store);
    }
    let catalogue = it.store.snapshot().catalogue;
    let ids = catalogue.template_ids().expect("a good disk");
    assert_eq!(ids.len(), 1, "request <#> row <#>");
    let id = *ids.first().expect("one");
    let text = catalogue.template(id).expect("a good disk");
    assert_eq!(text.as_deref(), Some("request \u{1} row \u{1}"));
    // Eight of the nine become one.
    it.keeper.maintain(START).expect("a good disk");
    check_agreement(&it.store);
    let rows: u64 = it
        .store
        .snapshot()
        .segments
        .list
        .iter()
        .map(|s| {
            let templates = catalogue.templates_of(s.row.id).expect("a good disk");
            let templates = templates.expect("published with it");
            templates
                .find(id)
                .expect("in every segment")
                .levels
                .iter()
                .sum::<u64>()
        })
        .sum();
    assert_eq!(rows, 9 * 50);
    // A deletion of everything leaves no template.
    it.writer
        .delete(&wanted("n:0..1000"), START)
        .expect("a good disk");
    while it.sealer.step().expect("a good disk") {}
    for _ in 0..5 {
        it.keeper.maintain(START).expect("a good disk");
    }
    check_agreement(&it.store);
    assert_eq!(catalogue.template_ids().expect("a good disk").len(), 0);
}

#[test]
fn segments_of_an_earlier_catalogue_get_their_templates() {
    let world = World::new();
    let mut it = opened(&world);
    push(&mut it, "shop", 0..10);
    let kept = it.store.snapshot().catalogue;
    kept.forget_templates();
    drop((it, kept));
    let world = world.restart_after_kill();
    let mut it = opened(&world);
    let catalogue = it.store.snapshot().catalogue;
    assert_eq!(catalogue.template_ids().expect("a good disk").len(), 0);
    it.keeper.maintain(START).expect("a good disk");
    assert_eq!(catalogue.template_ids().expect("a good disk").len(), 1);
    check_agreement(&it.store);
}

#[test]
fn beyond_the_cap_bodies_stay_plain_and_are_counted() {
    let world = World::new();
    let it = opened(&world);
    let catalogue = it.store.snapshot().catalogue;
    let gate = Gate::new(&catalogue);
    for n in 0..u64::from(TEMPLATES_PER_SERVICE_MAX) {
        assert!(gate.allows("a", TemplateId(n + 1)), "template {n}");
    }
    assert!(!gate.allows("a", TemplateId(u64::MAX)), "one too many");
    assert!(gate.allows("a", TemplateId(1)), "known");
    assert!(gate.allows("b", TemplateId(u64::MAX)), "another service");
    assert_eq!(gate.refused(), 1);
}

/// Records of texts that are templates of their own where there is room.
fn push_texts(it: &mut Opened, texts: std::ops::Range<u8>) {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 2, |out| {
            for text in texts.flat_map(|n| [n; 5]) {
                let body = format!("free text {}", char::from(b'a' + text));
                write::message(out, 2, |out| {
                    write::fixed64_field(out, 1, START.0);
                    write::message(out, 5, |out| write::any_value(out, ValueRef::Str(&body)));
                    write::key_value(out, 6, "n", ValueRef::Int(i64::from(text)));
                });
            }
        });
    });
    let request = Request {
        bytes: out.into(),
        project: ProjectId::DEFAULT,
        received: START,
    };
    let batch = Batch {
        chunk: BatchChunk::Logs(LogChunk::parse(request).expect("well-formed")),
        key: 1,
        wire: None,
    };
    it.writer.append(batch).expect("a good disk");
    it.writer.seal(Signal::Logs).expect("a good disk");
    while it.sealer.step().expect("a good disk") {}
}

#[test]
fn what_is_refused_stays_plain_when_it_is_rewritten() {
    let world = World::new();
    let mut it = opened(&world);
    let catalogue = it.store.snapshot().catalogue;
    catalogue.set_template_caps(3, 5);
    let n_templates = || catalogue.template_ids().expect("a good disk").len();
    push_texts(&mut it, 0..10);
    assert_eq!(n_templates(), 3, "sealed");
    assert_eq!(catalogue.template_figures().refused, 7 * 5);
    // Rewritten for good, a week later.
    let later = START.saturating_add(2 * 86_400 * SECOND);
    let round = it.keeper.maintain(later).expect("a good disk");
    assert_eq!(round.recoded, 1);
    assert_eq!(n_templates(), 3, "rewritten");
    assert_eq!(catalogue.template_figures().refused, 2 * 7 * 5);
    // And without what is deleted: one of those that are left comes up, no more.
    it.writer
        .delete(&wanted("n:0"), later)
        .expect("a good disk");
    for _ in 0..5 {
        while it.sealer.step().expect("a good disk") {}
        it.keeper.maintain(later).expect("a good disk");
    }
    assert!(
        (2..=3).contains(&n_templates()),
        "erased: {}",
        n_templates()
    );
    check_agreement(&it.store);
}

#[test]
fn segments_that_a_deletion_is_about_get_no_templates() {
    let world = World::new();
    let mut it = opened(&world);
    push(&mut it, "shop", 0..10);
    let kept = it.store.snapshot().catalogue;
    kept.forget_templates();
    drop((it, kept));
    let world = world.restart_after_kill();
    let mut it = opened(&world);
    it.writer
        .delete(&wanted("n:99"), START)
        .expect("a good disk");
    let catalogue = it.store.snapshot().catalogue;
    backfill(&it.store.shared).expect("a good disk");
    assert_eq!(catalogue.template_ids().expect("a good disk").len(), 0);
    for _ in 0..5 {
        while it.sealer.step().expect("a good disk") {}
        it.keeper.maintain(START).expect("a good disk");
    }
    assert_eq!(catalogue.template_ids().expect("a good disk").len(), 1);
}

#[test]
fn catalogue_does_not_grow_where_segments_come_and_go() {
    let world = World::new();
    let mut it = opened(&world);
    let (mut sizes, mut now) = (Vec::new(), START);
    for round in 0..40 {
        push(
            &mut it,
            &format!("service {round}"),
            round * 10..round * 10 + 10,
        );
        let condition = format!("n:{}..{}", round * 10, round * 10 + 9);
        now = now.saturating_add(3600 * SECOND);
        it.writer.tick(now).expect("a good disk");
        it.writer
            .delete(&wanted(&condition), now)
            .expect("a good disk");
        for _ in 0..3 {
            while it.sealer.step().expect("a good disk") {}
            it.keeper.maintain(now).expect("a good disk");
            it.writer.tick(now).expect("a good disk");
        }
        sizes.push(it.store.snapshot().catalogue.allocated_pages());
    }
    check_agreement(&it.store);
    let early = sizes[..10].iter().max().expect("ten");
    assert!(
        sizes[30..].iter().all(|pages| pages <= &(early + 4)),
        "pages: {sizes:?}"
    );
}
