#pragma once

#include <string>
#include <string_view>

namespace classgate::conf {

// What is wrong with an origin (RFC 6454 section 6.2) that browsers are to be known by: they write
// it in one way, and what is written in another is never equal. Empty: nothing.
std::string why_no_origin(std::string_view text);
// The same of a method that pages may ask with (Fetch standard, section 2.2.1).
std::string why_no_page_method(std::string_view method);

}  // namespace classgate::conf
