#pragma once

#include <string>
#include <string_view>

#include "sophia/report/run_files.h"

namespace sophia::report {

// A run as one page of HTML without anything from elsewhere; all text is escaped. A live page
// fetches its body again every other second, with the query of its own address.
std::string Page(const RunFiles& files, bool live);

// What lies within the page's <main>. A live one knows that the run goes on.
std::string Body(const RunFiles& files, bool live);
// The same before the run has written its first file: what is there may be an earlier run's.
std::string StartingBody(const RunFiles& files);
// The page with this body.
std::string PageAround(std::string_view body, const RunFiles& files, bool live);

// Content-Security-Policy: the page's own style and script alone, no connection but, of a live
// page, to where it came from.
std::string SecurityPolicy(bool live);

}  // namespace sophia::report
