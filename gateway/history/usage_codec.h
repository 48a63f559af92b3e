#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/history/distinct_count.h"
#include "admission/history/quantile_sketch.h"
#include "admission/history/usage_row.h"

namespace classgate::gateway {

// How what is not a number is written in the history's file (classgate-history(5)). Reading takes
// any bytes; what was not written so is nothing.
//
// A sketch: for each run of neighbouring bins, in their order, how many empty ones are before it,
// how many bins it has, and by how much each of them holds more or less than the one before in this
// run (the first: than 0), folded. All in groups of four bits, three of a number, the lowest first,
// below one that says whether there is more of it; two groups a byte, the lower half first. Nothing
// for an empty one. Two thirds of what LEB128 would take: neighbours hold about as much.
std::vector<std::uint8_t> bytes_of(const history::QuantileSketch& sketch);
std::optional<history::QuantileSketch> sketch_of(std::string_view bytes);

// Registers: byte 0, then of each that is not zero how far it is behind the one before, as LEB128,
// and its rank; or byte 1, then all 16384 ranks, where that is shorter. Nothing where all are zero.
std::vector<std::uint8_t> bytes_of(const history::DistinctCount& distinct);
std::optional<history::DistinctCount> distinct_of(std::string_view bytes);

// Words and their counts as JSON, {"queue_full":3,"shed":1}; "" for none.
using WordCounts = std::vector<std::pair<std::string, std::uint64_t>>;
std::string text_of(const WordCounts& counts);
std::optional<WordCounts> counts_of(std::string_view text);

std::string reasons_text(const history::UsageRow& row);
std::string failed_by_text(const history::UsageRow& row);
// Adds them. Words that this version does not know are left out.
void add_reasons(history::UsageRow& row, std::string_view text);
void add_failed_by(history::UsageRow& row, std::string_view text);

}  // namespace classgate::gateway
