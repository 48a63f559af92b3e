#pragma once

#include <string>

namespace classgate::gateway {

// `classgate status --watch`: asks the classgate behind this control socket once a second. On a
// terminal it draws a page (watch_page.h), with keys: q quits, p pauses, s sorts, c shows clients.
// Elsewhere, or `as_json`, it writes each answer as a line, or as it came. When classgate goes, it
// says so and goes on asking; who is not there at the first question is not waited for. Returns the
// exit status: 0 or 1 as the last answer was good or not, 2 nobody there, or an output that cannot
// be written.
int watch_status(const std::string& path, const std::string& target, bool as_json);

}  // namespace classgate::gateway
