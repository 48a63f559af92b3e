#include "gateway/spares.h"

#include <fmt/chrono.h>

#include <utility>

#include "conf/format.h"

namespace classgate::gateway {
namespace {

constexpr std::size_t spare_parsers_max = 256;
constexpr std::size_t spare_parser_bytes_max = 16 * 1024;  // of each

}  // namespace

Spares::Spares() { parsers_.reserve(spare_parsers_max); }

std::unique_ptr<proxy::wire::Parser> Spares::take_parser() {
  if (parsers_.empty()) return std::make_unique<proxy::wire::Parser>();
  auto parser = std::move(parsers_.back());
  parsers_.pop_back();
  return parser;
}

void Spares::return_parser(std::unique_ptr<proxy::wire::Parser> parser) {
  if (parsers_.size() < spare_parsers_max && parser->held_bytes() <= spare_parser_bytes_max)
    parsers_.push_back(std::move(parser));
}

std::string_view Spares::date_text() {
  const std::time_t now = std::time(nullptr);
  if (now != date_text_of_) {
    date_text_of_ = now;
    date_text_ = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now));
  }
  return date_text_;
}

}  // namespace classgate::gateway
