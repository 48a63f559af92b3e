#include "gateway/sharing/ledger_words.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <ranges>

namespace classgate::gateway {
namespace {

std::string text_of_number(std::uint64_t number) { return std::to_string(number); }

std::uint32_t number_in(const RedisReply& reply) {
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(reply.number, 0, 0xffffffff));
}
constexpr std::uint32_t number_most = 10'000'000;  // more than any conf can have of anything

}  // namespace

// The two empty ones are for tests.
void add_words(const sharing::Report& report, bool shows, std::vector<std::string>& words) {
  words.insert(
      words.end(),
      {text_of_number(report.number), report.ledger, std::to_string(report.sent.count()),
       text_of_number(report.cap), text_of_number(report.floor), text_of_number(report.floors),
       text_of_number(report.members), text_of_number(report.in_use),
       text_of_number(report.workers), std::to_string(report.request_timeout.count())});
  for (const std::uint32_t wanted : report.demand.wanted) words.push_back(text_of_number(wanted));
  for (const std::uint32_t weight : report.demand.weight) words.push_back(text_of_number(weight));
  words.insert(words.end(), {text_of_number(report.heard), "", "", shows ? "1" : ""});
  for (const sharing::RateReport& rate : report.rates)
    words.insert(words.end(), {rate.id, text_of_number(rate.limit), text_of_number(rate.given),
                               text_of_number(rate.part), text_of_number(rate.wanted),
                               text_of_number(rate.weight)});
}

std::optional<sharing::Share> share_in(const RedisReply& reply) {
  if (reply.kind != RedisReply::Kind::list || reply.list.size() < 2) return std::nullopt;
  sharing::Share share{.is_heard = reply.list[0].number == 1,
                       .told = sharing::LedgerTime(reply.list[1].number)};
  if (!share.is_heard) return share;
  if (reply.list.size() < 9) return std::nullopt;
  share.ledger = reply.list[2].text;
  share.seats = number_in(reply.list[3]);
  share.target = number_in(reply.list[4]);
  share.floor = number_in(reply.list[5]);
  share.floors = number_in(reply.list[6]);
  share.members = number_in(reply.list[7]);
  if (std::max({share.seats, share.target, share.floor, share.floors, share.members}) > number_most)
    return std::nullopt;
  share.before = static_cast<std::uint64_t>(std::max<std::int64_t>(reply.list[8].number, 0));
  for (std::size_t i = 9; i + 2 < reply.list.size(); i += 3)
    share.rates.push_back({.part = std::min(number_in(reply.list[i]), sharing::whole_rate),
                           .granted = number_in(reply.list[i + 1]),
                           .limit = number_in(reply.list[i + 2])});
  return share;
}

void take_shown(const RedisReply& reply, SharingHealth& health) {
  if (reply.list.empty() || reply.list.back().kind != RedisReply::Kind::list) return;
  const std::vector<RedisReply>& shown = reply.list.back().list;
  if (shown.size() < 2) return;
  health.kept = number_in(shown[0]);
  health.gateways.clear();
  for (const RedisReply& one : shown | std::views::drop(2))
    if (one.list.size() == 6)
      health.gateways.push_back({.name = one.list[0].text,
                                 .seats = number_in(one.list[1]),
                                 .in_use = number_in(one.list[2]),
                                 .floor = number_in(one.list[3]),
                                 .workers = number_in(one.list[4]),
                                 .lease = std::chrono::floor<std::chrono::milliseconds>(
                                     std::chrono::microseconds(one.list[5].number))});
}

}  // namespace classgate::gateway
