//! `latency.hlog`: the latencies as a histogram log of HdrHistogram, format version 1.3 with V2 histograms, which its plotters
//! and `HistogramLogProcessor` read. One interval, the run; one line for each kind, tagged with its name. Values are picoseconds.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::ReportError;
use crate::model::{Latency, RunReport};

/// The histogram as the log has it: V2, deflated, in base 64.
pub(crate) fn encoded(samples: &Histogram<u64>) -> Result<String, ReportError> {
    use base64::Engine;
    let mut bytes = Vec::new();
    let done = V2DeflateSerializer::new().serialize(samples, &mut bytes);
    done.map_err(|source| ReportError::Histogram { source })?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}

/// The histogram of such a text; `None` if it is none.
pub(crate) fn decoded(text: &str) -> Option<Histogram<u64>> {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

/// The log of a report, with a newline at the end.
#[must_use]
pub fn log(report: &RunReport) -> String {
    let mut out = format!(
        "#[Latencies of {}, picoseconds of simulated time]\n\
         #[Histogram log format version 1.3]\n\
         #[StartTime: 0.000 (seconds since epoch), Thu Jan 01 00:00:00 UTC 1970]\n\
         \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
        crate::headline::title(report).replace(['\n', '\r'], " ")
    );
    for (kind, latency) in &report.latency {
        line(&mut out, kind, latency, report.time_ns);
    }
    for (device, memory) in &report.memory {
        let Some(activity) = &memory.activity else { continue };
        line(&mut out, &format!("{device}.read"), &activity.read_latency, report.time_ns);
        line(&mut out, &format!("{device}.write"), &activity.write_latency, report.time_ns);
    }
    out
}

fn line(out: &mut String, tag: &str, latency: &Latency, run_ns: f64) {
    if latency.hdr.is_empty() {
        return;
    }
    // The format separates by commas and blanks.
    let tag = tag.replace([',', ' ', '\n', '\r'], "_");
    out.push_str(&format!(
        "Tag={tag},0.000,{:.9},{:.3},{}\n",
        run_ns / 1e9,
        latency.max * 1000.0,
        latency.hdr
    ));
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::model::{HistogramUnit, LatencyBuilder};

    #[test]
    fn the_log_is_read_back_as_the_histograms_it_was_made_of() {
        use base64::Engine;
        let mut samples = Histogram::<u64>::new(3).unwrap();
        for ps in [1_000_000, 2_000_000, 2_000_000, 900_000_000] {
            samples.record(ps).unwrap();
        }
        let latency = LatencyBuilder::new("mkwrite", &samples, HistogramUnit::Picoseconds)
            .sum_ps(905_000_000)
            .part("fs", 905_000_000)
            .extremes_ps(1_000_000, 900_000_000)
            .build()
            .unwrap();
        let mut report = RunReport { time_ns: 1_500_000.0, ..RunReport::default() };
        report.latency.insert("a kind, odd".into(), latency);
        let text = log(&report);
        let entries: Vec<_> = IntervalLogIterator::new(text.as_bytes()).map(Result::unwrap).collect();
        let found = entries.iter().find_map(|entry| match entry {
            LogEntry::Interval(line) => Some(line),
            _ => None,
        });
        let line = found.unwrap();
        assert_eq!(line.tag().unwrap().as_str(), "a_kind__odd");
        assert_eq!((line.duration().as_micros(), line.max()), (1500, 900_000_000.0));
        let bytes = base64::engine::general_purpose::STANDARD.decode(line.encoded_histogram()).unwrap();
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        assert_eq!(read, samples);
    }
}
