//! Whether catalogue and segments agree on their templates: for the offline check and the crash sweep.

use std::collections::BTreeSet;

use super::TemplateId;
use crate::store::StoreError;
use crate::store::catalogue::Catalogue;
use crate::store::segments::Segment;

/// One line per disagreement. A segment that cannot be read is somebody else's problem.
///
/// # Errors
/// The catalogue cannot be read.
pub(in crate::store) fn problems<'s>(
    catalogue: &Catalogue,
    segments: impl Iterator<Item = &'s Segment>,
) -> Result<Vec<String>, StoreError> {
    let (mut problems, mut used, mut seen) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for segment in segments.filter(|segment| segment.is_logs()) {
        let id = segment.row.id;
        seen.insert(id);
        let Some(kept) = catalogue.templates_of(id)? else {
            continue;
        };
        let Ok(Some(mined)) = segment.mine() else {
            continue;
        };
        if kept != mined.templates {
            problems.push(format!(
                "the catalogue's templates of segment {id} are not its own"
            ));
        }
        for (facts, text) in mined.templates.facts.iter().zip(&mined.texts) {
            if facts.id == TemplateId::PLAIN || !used.insert(facts.id) {
                continue;
            }
            if catalogue.template(facts.id)?.as_deref() != Some(&**text) {
                problems.push(format!(
                    "template {} of segment {id} has another text",
                    facts.id
                ));
            }
        }
    }
    for id in catalogue.segments_with_templates()? {
        if !seen.contains(&id) {
            problems.push(format!("templates of segment {id}, which is not there"));
        }
    }
    let kept = catalogue.template_ids()?;
    let unused = kept.iter().filter(|id| !used.contains(id)).count();
    let lacking = used.iter().filter(|id| !kept.contains(id)).count();
    if unused + lacking > 0 {
        problems.push(format!(
            "{unused} templates that no segment has, {lacking} missing"
        ));
    }
    Ok(problems)
}
