#include "sophia/parquet/row_json.h"

#include <arrow/api.h>
#include <arrow/extension_type.h>
#include <arrow/util/float16.h>

#include <cmath>
#include <string>

namespace sophia::parquet {
namespace {

Json Value(const arrow::Array& array, int64_t i);

template <typename ArrayType>
const ArrayType& As(const arrow::Array& array) {
  return static_cast<const ArrayType&>(array);
}

template <typename ArrayType>
Json Text(const arrow::Array& array, int64_t i) {
  return std::string(As<ArrayType>(array).GetView(i));
}

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

template <typename ArrayType>
Json List(const arrow::Array& array, int64_t i) {
  const auto& list = As<ArrayType>(array);
  const int64_t begin = list.value_offset(i);
  Json values = Json::array();
  for (int64_t k = 0; k < list.value_length(i); ++k) {
    values.push_back(Value(*list.values(), begin + k));
  }
  return values;
}

Json Struct(const arrow::StructArray& array, int64_t i) {
  Json object = Json::object();
  for (int k = 0; k < array.num_fields(); ++k) {
    Json value = Value(*array.field(k), i);
    if (!value.is_null()) object[array.struct_type()->field(k)->name()] = std::move(value);
  }
  return object;
}

Json Map(const arrow::MapArray& array, int64_t i) {
  if (array.map_type()->key_type()->id() != arrow::Type::STRING) return nullptr;
  Json object = Json::object();
  for (int64_t k = array.value_offset(i); k < array.value_offset(i + 1); ++k) {
    object[As<arrow::StringArray>(*array.keys()).GetString(k)] = Value(*array.items(), k);
  }
  return object;
}

Json ValueAsText(const arrow::Array& array, int64_t i) {
  const auto scalar = array.GetScalar(i);
  return scalar.ok() ? Json((*scalar)->ToString()) : Json();
}

Json Scalar(const arrow::Array& array, int64_t i) {
  using arrow::Type;
  switch (array.type_id()) {
    case Type::BOOL:
      return As<arrow::BooleanArray>(array).Value(i);
    case Type::INT8:
      return As<arrow::Int8Array>(array).Value(i);
    case Type::INT16:
      return As<arrow::Int16Array>(array).Value(i);
    case Type::INT32:
      return As<arrow::Int32Array>(array).Value(i);
    case Type::INT64:
      return As<arrow::Int64Array>(array).Value(i);
    case Type::UINT8:
      return As<arrow::UInt8Array>(array).Value(i);
    case Type::UINT16:
      return As<arrow::UInt16Array>(array).Value(i);
    case Type::UINT32:
      return As<arrow::UInt32Array>(array).Value(i);
    case Type::UINT64:
      return As<arrow::UInt64Array>(array).Value(i);
    case Type::HALF_FLOAT: {
      const uint16_t bits = As<arrow::HalfFloatArray>(array).Value(i);
      return Number(arrow::util::Float16::FromBits(bits).ToFloat());
    }
    case Type::FLOAT:
      return Number(As<arrow::FloatArray>(array).Value(i));
    case Type::DOUBLE:
      return Number(As<arrow::DoubleArray>(array).Value(i));
    case Type::STRING:
      return Text<arrow::StringArray>(array, i);
    case Type::LARGE_STRING:
      return Text<arrow::LargeStringArray>(array, i);
    case Type::STRING_VIEW:
      return Text<arrow::StringViewArray>(array, i);
    default:
      break;
  }
  const bool has_text = arrow::is_temporal(array.type_id()) || arrow::is_decimal(array.type_id());
  return has_text ? ValueAsText(array, i) : Json();
}

Json Value(const arrow::Array& array, int64_t i) {
  using arrow::Type;
  if (array.IsNull(i)) return nullptr;
  switch (array.type_id()) {
    case Type::LIST:
      return List<arrow::ListArray>(array, i);
    case Type::LARGE_LIST:
      return List<arrow::LargeListArray>(array, i);
    case Type::FIXED_SIZE_LIST:
      return List<arrow::FixedSizeListArray>(array, i);
    case Type::STRUCT:
      return Struct(As<arrow::StructArray>(array), i);
    case Type::MAP:
      return Map(As<arrow::MapArray>(array), i);
    case Type::DICTIONARY: {
      const auto& coded = As<arrow::DictionaryArray>(array);
      return Value(*coded.dictionary(), coded.GetValueIndex(i));
    }
    case Type::EXTENSION:
      return Value(*As<arrow::ExtensionArray>(array).storage(), i);
    default:
      return Scalar(array, i);
  }
}

}  // namespace

Json RowJson(const arrow::RecordBatch& batch, int64_t row) {
  Json object = Json::object();
  for (int k = 0; k < batch.num_columns(); ++k) {
    object[batch.column_name(k)] = Value(*batch.column(k), row);
  }
  return object;
}

}  // namespace sophia::parquet
