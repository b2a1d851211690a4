#pragma once

#include <string>
#include <vector>

#include "sophia/base/json.h"
#include "sophia/plan/planner.h"

namespace sophia::plan {

// The plan as a table of lines for people.
std::string ToText(const Plan& plan);

// Plans of several policies as a table with a line for each.
std::string ToTable(const std::vector<Plan>& plans);

// The plan as one object; bytes and seconds, null where nothing is known.
Json ToJson(const Plan& plan);

}  // namespace sophia::plan
