//! The JSON Schema of `report.json`, made of the types that write it.

use schemars::generate::SchemaSettings;
use serde_json::json;

use crate::ReportError;
use crate::model::{RunReport, SCHEMA};

/// Where the schema is published.
const ID: &str = "https://raw.githubusercontent.com/daxsim/daxsim/main/reports/schema/report.schema.json";

/// The schema (draft 2020-12) of the documents that [`crate::json::write`] writes, with a newline at the end.
///
/// Documents of other versions under the same [`SCHEMA`] number may have more or fewer fields.
///
/// # Errors
///
/// [`ReportError::Serialise`] if the serialiser refuses it.
pub fn report() -> Result<String, ReportError> {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<RunReport>();
    schema.insert("$id".to_owned(), json!(ID));
    schema.insert("title".to_owned(), json!(format!("A report of daxsim ({SCHEMA})")));
    if let Some(of) = schema.pointer_mut("/properties/schema").and_then(|of| of.as_object_mut()) {
        of.insert("const".to_owned(), json!(SCHEMA));
    }
    Ok(serde_json::to_string_pretty(&schema).map_err(ReportError::Serialise)? + "\n")
}
