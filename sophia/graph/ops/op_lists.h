#pragma once

#include <vector>

#include "sophia/graph/op.h"

// The rows of the op table, one list a file of definitions; AllOps() joins them.
namespace sophia::ops {

std::vector<const OpDef*> UnaryOps();
std::vector<const OpDef*> BinaryOps();
std::vector<const OpDef*> SelectOps();
std::vector<const OpDef*> CreationOps();
std::vector<const OpDef*> TypeOps();
std::vector<const OpDef*> ShapeOps();
std::vector<const OpDef*> SliceOps();
std::vector<const OpDef*> GatherOps();
std::vector<const OpDef*> ReduceOps();
std::vector<const OpDef*> DotOps();
std::vector<const OpDef*> SortOps();
std::vector<const OpDef*> SpecialOps();
std::vector<const OpDef*> ControlOps();

}  // namespace sophia::ops
