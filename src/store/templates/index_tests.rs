//! The index against looking at every text.

use proptest::prelude::*;

use super::*;
use crate::store::filter::{NUMBER, STRING};

/// As the index is meant to answer, read off the text.
fn may_have(text: &str, need: &TextNeed) -> bool {
    let template = Template::new(text);
    match need {
        TextNeed::Nothing => true,
        TextNeed::All(needs) => needs.iter().all(|need| may_have(text, need)),
        TextNeed::One(needs) => needs.iter().any(|need| may_have(text, need)),
        TextNeed::Token { folded, prefix } => {
            let is_it = |token: &str| {
                let token: String = token.chars().map(fold).collect();
                token == *folded || (*prefix && token.starts_with(folded))
            };
            let in_number = *prefix || fits_number(folded);
            tokens(text).any(is_it)
                || template.has_strings()
                || (template.has_numbers() && in_number)
        }
    }
}

fn indexed(texts: &[String]) -> (TemplateIndex, Vec<(TemplateId, &str)>) {
    let id = |text: &String| TemplateId::of(text.as_bytes());
    let mut templates: Vec<_> = texts.iter().map(|t| (id(t), t.as_str())).collect();
    templates.sort_unstable();
    templates.dedup();
    let owned = templates.iter().map(|(id, text)| (*id, (*text).to_owned()));
    let index = TemplateIndex::default();
    let generation = Generation::of(owned).expect("it fits in memory");
    index.put(Some(generation), 0, Changes::default());
    (index, templates)
}

/// Few words, so that they meet; with characters beyond ASCII and both kinds of variables.
fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-cK_]{1,3}", "[éÉİ\u{212a}a]{1,2}", "[0-9a-f]{1,4}"]
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => word(),
        1 => Just(char::from(NUMBER).to_string()),
        1 => Just(char::from(STRING).to_string()),
    ];
    let separator = prop_oneof![Just(" "), Just(": "), Just("é-"), Just("\"")];
    prop::collection::vec((piece, separator), 0..6)
        .prop_map(|pieces| pieces.iter().map(|(a, b)| format!("{a}{b}")).collect())
}

fn need() -> impl Strategy<Value = TextNeed> {
    let token = (word(), any::<bool>()).prop_map(|(token, prefix)| TextNeed::Token {
        folded: token.chars().map(fold).collect(),
        prefix,
    });
    let leaf = prop_oneof![6 => token, 1 => Just(TextNeed::Nothing)];
    leaf.prop_recursive(2, 12, 3, |inner| {
        let inner = prop::collection::vec(inner, 1..4);
        prop_oneof![
            inner.clone().prop_map(TextNeed::All),
            inner.prop_map(TextNeed::One),
        ]
    })
}

proptest! {
    #[test]
    fn the_index_says_what_the_texts_say(
        texts in prop::collection::vec(text(), 0..40),
        needs in prop::collection::vec(need(), 1..8),
    ) {
        let (index, templates) = indexed(&texts);
        for need in &needs {
            let ruled_out = index.resolve(need);
            let documents = ruled_out
                .as_ref()
                .map(|out| out.documents(templates.iter().map(|(id, _)| Some(*id))));
            for (place, (id, text)) in templates.iter().enumerate() {
                let is_out = ruled_out.as_ref().is_some_and(|out| out.has(*id));
                prop_assert_eq!(is_out, !may_have(text, need), "{:?} {:?}", text, need);
                if let (Some(out), Some(documents)) = (&ruled_out, &documents) {
                    prop_assert!(out.fits(documents));
                    prop_assert_eq!(out.has_document(documents, place), is_out);
                }
            }
            // Of what came later nothing is said.
            let later = TemplateId::of(b"not there");
            prop_assert!(!ruled_out.is_some_and(|out| out.has(later)));
        }
    }
}

#[test]
fn it_is_made_anew_when_many_came_or_one_went() {
    let (index, _) = indexed(&["a b".to_owned()]);
    let check = |added, removed, expect| {
        let changes = Changes { added, removed };
        assert_eq!(index.is_behind(changes), expect, "{changes:?}");
    };
    check(0, 0, false);
    check(NEW_MIN - 1, 0, false);
    check(NEW_MIN, 0, true);
    check(0, 1, true);
    let (old, changes) = (
        index.resolve(&token("c")),
        Changes {
            added: 1,
            removed: 1,
        },
    );
    index.put(None, 0, changes);
    assert!(!index.is_behind(changes));
    assert!(index.resolve(&token("c")).is_none());
    // Who has asked before goes on with what was there.
    assert!(old.is_some_and(|out| out.has(TemplateId::of(b"a b"))));
}

fn token(folded: &str) -> TextNeed {
    TextNeed::Token {
        folded: folded.to_owned(),
        prefix: false,
    }
}
