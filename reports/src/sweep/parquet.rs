//! The points as Parquet: flat columns, uncompressed, of one row group.

use std::sync::Arc;

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::Sweep;
use super::columns::{Cells, Column, columns};
use crate::ReportError;

/// The file's bytes.
///
/// # Errors
///
/// [`ReportError::Parquet`] if the library refuses something.
pub fn parquet(sweep: &Sweep) -> Result<Vec<u8>, ReportError> {
    written(&columns(sweep)).map_err(|error| ReportError::Parquet(error.to_string()))
}

fn written(columns: &[Column]) -> Result<Vec<u8>, ParquetError> {
    let fields = columns.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let schema = Type::group_type_builder("points").with_fields(fields).build()?;
    // The version of the library is no part of the result.
    let properties = WriterProperties::builder().set_created_by("daxsim".to_owned()).build();
    let mut bytes = Vec::new();
    let mut file = SerializedFileWriter::new(&mut bytes, Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else { break };
        write(&mut writer, &column.cells)?;
        writer.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(bytes)
}

/// Every column can be without a value.
fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let (physical, converted) = match column.cells {
        Cells::Texts(_) => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        Cells::Integers(_) => (Physical::INT64, ConvertedType::NONE),
        Cells::Numbers(_) => (Physical::DOUBLE, ConvertedType::NONE),
    };
    let builder = Type::primitive_type_builder(&column.name, physical);
    Ok(Arc::new(builder.with_repetition(Repetition::OPTIONAL).with_converted_type(converted).build()?))
}

fn write(writer: &mut SerializedColumnWriter<'_>, cells: &Cells) -> Result<(), ParquetError> {
    match cells {
        Cells::Texts(cells) => {
            let values: Vec<ByteArray> =
                cells.iter().flatten().map(|text| ByteArray::from(text.as_str())).collect();
            writer.typed::<ByteArrayType>().write_batch(&values, Some(&levels(cells)), None)?;
        }
        Cells::Integers(cells) => {
            let values: Vec<i64> = cells.iter().flatten().copied().collect();
            writer.typed::<Int64Type>().write_batch(&values, Some(&levels(cells)), None)?;
        }
        Cells::Numbers(cells) => {
            let values: Vec<f64> = cells.iter().flatten().copied().collect();
            writer.typed::<DoubleType>().write_batch(&values, Some(&levels(cells)), None)?;
        }
    }
    Ok(())
}

/// 1 where there is a value.
fn levels<T>(cells: &[Option<T>]) -> Vec<i16> {
    cells.iter().map(|cell| i16::from(cell.is_some())).collect()
}
