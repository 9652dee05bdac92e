//! Metrics until they are kept: counted, rejected, and told so. A malformed request is refused all
//! the same, so that a sender's other mistakes show now.

use super::answer::Format;
use super::fault::Fault;
use super::json::{Next, Reader};
use crate::ingest::Receipt;
use crate::model::wire::{Fields, WireError};

const MESSAGE: &str = "metrics are not kept by this version and arrive in a later one: \
                       set OTEL_METRICS_EXPORTER=none until then";

/// Rejects every data point of an `ExportMetricsServiceRequest`.
///
/// # Errors
/// It is no such request.
pub(super) fn reject_all(request: &[u8], format: Format) -> Result<Receipt, Fault> {
    let points = match format {
        Format::Protobuf => count(request, &[1, 2, 2])
            .map_err(|error| Fault::Malformed(format!("not an OTLP metrics request: {error}")))?,
        Format::Json => {
            let mut reader = Reader::new(request);
            let mut points = 0;
            count_json(&mut reader, PATH, &mut points)
                .and_then(|()| reader.end())
                .map_err(|error| Fault::Malformed(format!("not OTLP/JSON: {error}")))?;
            points
        }
    };
    Ok(Receipt {
        accepted: 0,
        rejected: points,
        message: (points > 0).then(|| MESSAGE.to_owned()),
        deduplicated: false,
    })
}

/// Data points below the fields of `path`: resource, scope, metric.
fn count(message: &[u8], path: &[u32]) -> Result<u64, WireError> {
    let mut points = 0;
    let mut fields = Fields::new(message);
    while let Some((number, field)) = fields.next()? {
        match path {
            [step, rest @ ..] if number == *step => points += count(field.bytes()?, rest)?,
            // Gauge, sum, histogram, exponential histogram, summary: points are their field 1.
            [] if matches!(number, 5 | 7 | 9 | 10 | 11) => {
                let mut data = Fields::new(field.bytes()?);
                while let Some((number, _)) = data.next()? {
                    points += u64::from(number == 1);
                }
            }
            _ => {}
        }
    }
    Ok(points)
}

/// Keys that lead to the data points in JSON; below the metric, any kind of data.
const PATH: &[&str] = &["resourceMetrics", "scopeMetrics", "metrics"];

fn count_json(
    reader: &mut Reader<'_>,
    path: &[&str],
    points: &mut u64,
) -> Result<(), super::json::JsonError> {
    reader.object(|reader, key| match path {
        [step, rest @ ..] if key == *step => {
            reader.array(|reader| count_json(reader, rest, points))
        }
        [] if reader.peek()? == Next::Object => reader.object(|reader, key| {
            if key != "dataPoints" {
                return reader.skip();
            }
            reader.array(|reader| {
                *points += 1;
                reader.skip()
            })
        }),
        _ => reader.skip(),
    })
}
