#pragma once

// Words that make the tests short. Time is virtual: `start` and what is added to it.

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
#include <string>

#include "admission/controller.h"

template <>
struct doctest::StringMaker<classgate::admission::Duration> {
  static String convert(classgate::admission::Duration duration) {
    return toString(static_cast<long long>(duration.count())) + " ns";
  }
};

namespace classgate::admission {

using namespace std::chrono_literals;

inline constexpr Time start = Time{} + 1h;

// Small numbers and no rate limit: a test says what it is about.
inline conf::AdmissionSettings small_settings() {
  conf::AdmissionSettings settings;
  settings.workers = 1;
  settings.queue_size = 4;
  settings.rate = 0;
  return settings;
}

inline Arrival request(int priority, Time at = start) { return {.priority = priority, .at = at}; }

inline std::string said(const Rejection& rejection) {
  return std::string(conf::word_of(rejection.reason));
}
inline std::string said(const std::optional<Rejection>& rejection) {
  return rejection ? said(*rejection) : "passes";
}
inline std::string said(const Verdict& verdict) {
  if (std::holds_alternative<Admitted>(verdict)) return "admitted";
  if (std::holds_alternative<Ticket>(verdict)) return "waits";
  return said(std::get<Rejection>(verdict));
}
inline std::string said(const std::optional<Notice>& notice) {
  if (!notice) return "silence";
  if (std::holds_alternative<Granted>(notice->news)) return "granted";
  return said(std::get<Rejection>(notice->news));
}

// Both steps at once, as for a request whose body came with its head.
inline Verdict enter(Controller& controller, Arrival arrival, Time now = start) {
  if (const auto rejection = controller.screen(arrival, now)) return *rejection;
  return controller.arrive(arrival, now);
}
inline Duration retry_after(const Verdict& verdict) {
  return std::get<Rejection>(verdict).retry_after;
}

inline std::uint64_t in_the_books(const Snapshot& books) {
  return books.processed + books.abandoned + sum(books.rejected) + sum(books.failed) +
         books.waiting + books.in_flight;
}

}  // namespace classgate::admission
