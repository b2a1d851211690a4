#pragma once

#include <arrow/record_batch.h>

#include "sophia/base/json.h"

namespace sophia::parquet {

// A row as a JSON object with a key for each column. Lists are arrays; structs and maps with text
// as keys are objects, of structs without null members; dates, times and decimals are text; what
// JSON has no form for (bytes, NaN) is null.
Json RowJson(const arrow::RecordBatch& batch, int64_t row);

}  // namespace sophia::parquet
