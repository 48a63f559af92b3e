#pragma once

// {fmt}, as everybody here includes it. Its formatting of every kind of number would be compiled
// anew in each file that says fmt::format_to() or logs: that is three quarters of what such a file
// takes to compile. Here it is compiled once (format.cpp).

#include <fmt/format.h>

extern template void fmt::detail::vformat_to<char>(fmt::detail::buffer<char>&,
                                                   fmt::basic_string_view<char>,
                                                   fmt::basic_format_args<fmt::format_context>,
                                                   fmt::detail::locale_ref);
