//! The texts of all templates of the catalogue in a tantivy index, one document each: which templates
//! cannot have a word, found without looking at any of them.
//!
//! In memory only and made by the keeper, so no search waits for a commit and no start for a build:
//! a template that came since is not ruled out and its text is looked at, and without an index all
//! are. Made anew once enough have come, and at the next round when one is gone, so that the text of
//! an erased record does not outlive its template for long. Rules out only what cannot match; it never
//! says that something does.
//!
//! Measured on templates of the recorded logs: 1,000 are indexed in 6 ms and 2 MB, 32,000 in 46 ms and
//! 10 MB. A word is found in 0.5 and 2 us, where looking at all texts takes 29 us and 1.4 ms, a prefix
//! in 5 us; on disk a commit took 8 ms of CPU and 33 ms of waiting, of which there is no need. Regular
//! expressions are held against the texts: going through the dictionary of words for a piece of one
//! takes 260 us, more than the texts of 30,000 templates do.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use roaring::RoaringBitmap;
use tantivy::directory::RamDirectory;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::SegmentPostings;
use tantivy::schema::{
    Field, IndexRecordOption, Schema, TantivyDocument, TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager};
use tantivy::{DocSet, Index, IndexSettings, ReloadPolicy, TERMINATED, TantivyError};

use super::TemplateId;
use crate::model::token::{fold, tokens};
use crate::store::filter::{Template, fits_number};

/// Templates that came since the index was made, from which on it is made anew; and for large ones the
/// share of all: each costs one look at its text per search and dictionary.
const NEW_MIN: u64 = 64;
const NEW_SHARE: u64 = 16;

/// What tantivy's writer makes its first table of words for; the table grows. A writer of one segment
/// has no other use for it: what bounds an index is the text that goes in.
const WRITER_BYTES: usize = 1 << 20;

/// Bytes that an index takes at least for each byte of text: with more text it is not made.
const BYTES_PER_TEXT_BYTE: u64 = 2;

/// The name that our tokenizer has in the index.
const TOKENIZER: &str = "tokens";

/// What the text of a record must have, as far as its template tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TextNeed {
    #[default]
    Nothing,
    /// A token, folded; `prefix`: one that begins so.
    Token {
        folded: String,
        prefix: bool,
    },
    All(Vec<TextNeed>),
    One(Vec<TextNeed>),
}

/// The index, as it is now.
#[derive(Debug, Default)]
pub(in crate::store) struct TemplateIndex {
    now: ArcSwapOption<Generation>,
    /// What [`Changes`] were when it was made.
    added: AtomicU64,
    removed: AtomicU64,
    /// Templates that it has or, when they were too much text, would have had.
    tried: AtomicU64,
}

/// How many templates have come and gone since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Changes {
    pub(in crate::store) added: u64,
    pub(in crate::store) removed: u64,
}

/// An index over the templates of one moment.
pub(crate) struct Generation {
    /// Rising; the place is the number of the document.
    ids: Vec<TemplateId>,
    /// Templates with a variable that is a token with a digit, and with one that is any text.
    numbers: RoaringBitmap,
    strings: RoaringBitmap,
    texts: Arc<InvertedIndexReader>,
    bytes: usize,
}

impl fmt::Debug for Generation {
    // Texts of records are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "index over {} templates", self.ids.len())
    }
}

/// Which templates cannot have what was asked for.
#[derive(Clone, Debug)]
pub(crate) struct RuledOut {
    generation: Arc<Generation>,
    /// Documents that may have it.
    may: Arc<RoaringBitmap>,
}

/// The documents of some templates in one state of the index.
#[derive(Debug)]
pub(crate) struct Documents {
    /// Keeps the address from being used for another, not the index.
    generation: Weak<Generation>,
    of: Box<[Option<u32>]>,
}

impl Documents {
    pub(in crate::store) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.of)
    }
}

impl RuledOut {
    /// Whether no record of a template can match; of one that the index does not have nothing is said.
    pub(in crate::store) fn has(&self, id: TemplateId) -> bool {
        let document = self.generation.document(id);
        document.is_some_and(|document| !self.may.contains(document))
    }

    /// As [`RuledOut::has`], of the one at `place` among `documents`, which are of this state of the index.
    pub(in crate::store) fn has_document(&self, documents: &Documents, place: usize) -> bool {
        let document = documents.of.get(place).copied().flatten();
        document.is_some_and(|document| !self.may.contains(document))
    }

    /// Whether documents are of this state of the index.
    pub(in crate::store) fn fits(&self, documents: &Documents) -> bool {
        std::ptr::eq(documents.generation.as_ptr(), Arc::as_ptr(&self.generation))
    }

    /// The documents of templates, for [`RuledOut::has_document`].
    pub(in crate::store) fn documents(
        &self,
        ids: impl Iterator<Item = Option<TemplateId>>,
    ) -> Documents {
        Documents {
            generation: Arc::downgrade(&self.generation),
            of: ids.map(|id| self.generation.document(id?)).collect(),
        }
    }
}

impl TemplateIndex {
    /// What `need` rules out; `None`: nothing.
    pub(in crate::store) fn resolve(&self, need: &TextNeed) -> Option<RuledOut> {
        if *need == TextNeed::Nothing {
            return None;
        }
        let generation = self.now.load_full()?;
        // A term that cannot be read rules nothing out.
        let may = generation.may_have(need).ok().flatten()?;
        Some(RuledOut {
            generation,
            may: Arc::new(may),
        })
    }

    /// Whether it is time to make it anew.
    pub(in crate::store) fn is_behind(&self, changes: Changes) -> bool {
        let gone = changes.removed != self.removed.load(Ordering::Relaxed);
        let new = changes.added - self.added.load(Ordering::Relaxed);
        let tried = self.tried.load(Ordering::Relaxed);
        (gone && self.now.load().is_some()) || new >= NEW_MIN.max(tried / NEW_SHARE)
    }

    /// Puts another in its place, made of so many templates when there had been these changes; without
    /// one every text is looked at.
    pub(in crate::store) fn put(
        &self,
        generation: Option<Generation>,
        templates: usize,
        changes: Changes,
    ) {
        self.now.store(generation.map(Arc::new));
        self.tried.store(templates as u64, Ordering::Relaxed);
        self.added.store(changes.added, Ordering::Relaxed);
        self.removed.store(changes.removed, Ordering::Relaxed);
    }

    /// Memory that it takes.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.now.load().as_ref().map_or(0, |now| now.bytes)
    }
}

impl Generation {
    /// Whether an index over so much text may fit `bytes_max`.
    pub(in crate::store) fn may_fit(text_bytes: u64, bytes_max: u64) -> bool {
        text_bytes.saturating_mul(BYTES_PER_TEXT_BYTE) <= bytes_max
    }

    /// An index over templates, rising by id.
    pub(in crate::store) fn of(
        templates: impl Iterator<Item = (TemplateId, String)>,
    ) -> Result<Generation, TantivyError> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let options = TextOptions::default().set_indexing_options(indexing);
        let text_field = schema.add_text_field("text", options);
        let tokenizers = TokenizerManager::new();
        tokenizers.register(TOKENIZER, Folded);
        let directory = RamDirectory::create();
        let mut writer = Index::builder()
            .schema(schema.build())
            .settings(IndexSettings {
                docstore_compress_dedicated_thread: false,
                ..IndexSettings::default()
            })
            .tokenizers(tokenizers)
            .single_segment_index_writer(directory.clone(), WRITER_BYTES)?;
        let mut ids = Vec::new();
        let (mut numbers, mut strings) = (RoaringBitmap::new(), RoaringBitmap::new());
        for (document, (id, text)) in (0..).zip(templates) {
            let template = Template::new(&text);
            if template.has_numbers() {
                numbers.insert(document);
            }
            if template.has_strings() {
                strings.insert(document);
            }
            ids.push(id);
            let mut written = TantivyDocument::default();
            written.add_text(text_field, &text);
            writer.add_document(written)?;
        }
        let texts = reader(&writer.finalize()?, text_field)?;
        let bytes = directory.total_mem_usage() + ids.capacity() * size_of::<TemplateId>();
        Ok(Generation {
            bytes: bytes + numbers.serialized_size() + strings.serialized_size(),
            ids,
            numbers,
            strings,
            texts,
        })
    }

    /// Memory that it takes.
    pub(in crate::store) fn bytes(&self) -> usize {
        self.bytes
    }

    fn document(&self, id: TemplateId) -> Option<u32> {
        self.ids.binary_search(&id).ok().map(|place| place as u32)
    }

    /// The documents that may have what is needed; `None`: all.
    fn may_have(&self, need: &TextNeed) -> io::Result<Option<RoaringBitmap>> {
        Ok(match need {
            TextNeed::Nothing => None,
            TextNeed::Token { folded, prefix } => Some(self.with_token(folded, *prefix)?),
            TextNeed::All(needs) => {
                let mut all: Option<RoaringBitmap> = None;
                for may in needs.iter().map(|need| self.may_have(need)) {
                    all = match (all, may?) {
                        (Some(all), Some(may)) => Some(all & may),
                        (one, other) => one.or(other),
                    };
                }
                all
            }
            TextNeed::One(needs) => {
                let mut one = RoaringBitmap::new();
                for may in needs.iter().map(|need| self.may_have(need)) {
                    let Some(may) = may? else {
                        return Ok(None);
                    };
                    one |= may;
                }
                Some(one)
            }
        })
    }

    /// Documents with a token in their constant text, or a variable that may hold it.
    fn with_token(&self, token: &str, prefix: bool) -> io::Result<RoaringBitmap> {
        let mut may = self.strings.clone();
        if prefix || fits_number(token) {
            may |= &self.numbers;
        }
        let terms = self.texts.terms();
        if !prefix {
            if let Some(term) = terms.get(token)? {
                let basic = IndexRecordOption::Basic;
                add(
                    &mut may,
                    self.texts.read_postings_from_terminfo(&term, basic)?,
                );
            }
            return Ok(may);
        }
        let mut longer = terms.range().ge(token).into_stream()?;
        while longer.advance() && longer.key().starts_with(token.as_bytes()) {
            let basic = IndexRecordOption::Basic;
            let postings = self
                .texts
                .read_postings_from_terminfo(longer.value(), basic)?;
            add(&mut may, postings);
        }
        Ok(may)
    }
}

fn add(documents: &mut RoaringBitmap, mut postings: SegmentPostings) {
    let mut document = postings.doc();
    while document != TERMINATED {
        documents.insert(document);
        document = postings.advance();
    }
}

/// The terms and postings of the one segment there is.
fn reader(index: &Index, field: Field) -> Result<Arc<InvertedIndexReader>, TantivyError> {
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .num_warming_threads(0)
        .try_into()?;
    match reader.searcher().segment_readers().first() {
        Some(segment) => segment.inverted_index(field),
        None => Ok(Arc::new(InvertedIndexReader::empty(
            IndexRecordOption::Basic,
        ))),
    }
}

/// Tokens as the query language has them, folded.
#[derive(Clone, Debug)]
struct Folded;

impl Tokenizer for Folded {
    type TokenStream<'a> = FoldedStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> FoldedStream<'a> {
        FoldedStream {
            rest: Box::new(tokens(text)),
            token: Token::default(),
        }
    }
}

struct FoldedStream<'a> {
    rest: Box<dyn Iterator<Item = &'a str> + 'a>,
    token: Token,
}

impl TokenStream for FoldedStream<'_> {
    fn advance(&mut self) -> bool {
        let Some(next) = self.rest.next() else {
            return false;
        };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text.clear();
        self.token.text.extend(next.chars().map(fold));
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
