#pragma once

#include <string>
#include <string_view>

namespace classgate::conf {

// What is wrong with a line of a conf file that is no TOML, where it is one of the things that
// people write who know other formats (no quotes, True, "workers: 5", typographic quotes), and what
// to write in its place. `table` is the one in which the line stands, such as "admission"; empty:
// none. Empty: it is none of these, and the parser's words must do. A value is shown only of a key
// that there is, and whose values are no secrets: those of the conf itself, never what a [[plan]]
// says.
std::string why_not_toml(std::string_view line, std::string_view table);

}  // namespace classgate::conf
