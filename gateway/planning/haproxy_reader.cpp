#include <algorithm>
#include <array>

#include "conf/format.h"
#include "gateway/planning/foreign_readers.h"
#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

// TR/Tw/Tc/Tr/Ta, in milliseconds: its head came, it waited in HAProxy, the server was connected,
// it began to answer, all was done. -1: that was not reached.
struct Timers {
  std::optional<Duration> head, queue, connect, response, all;
};

std::optional<Timers> timers_of(std::string_view text) {
  Timers timers;
  std::array<std::optional<Duration>*, 5> parts{&timers.head, &timers.queue, &timers.connect,
                                                &timers.response, &timers.all};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::size_t end = std::min(text.find('/'), text.size());
    const std::string_view part = text.substr(0, end);
    if ((end == text.size()) != (i + 1 == parts.size())) return std::nullopt;
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part == "-1") continue;
    if (!(*parts[i] = duration_of(part, 1ms))) return std::nullopt;
  }
  return timers;
}

class HaproxyReader final : public LineReader {
 public:
  std::expected<AccessEntry, std::string> read(std::string_view line) override {
    constexpr auto no_line = "is no line of HAProxy's httplog";
    AccessEntry entry;
    entry.is_by_address = true;
    Cursor at(line);
    const std::string_view address = at.word();
    entry.client = address.substr(0, address.rfind(':'));
    const auto accepted = at.between('[', ']');
    if (!accepted || entry.client.empty()) return std::unexpected(no_line);
    at.skip(" ");
    at.word();  // frontend
    const std::string_view server = at.word();
    const std::string_view timers_text = at.word();
    const std::string_view status_text = at.word();
    at.word();  // bytes of the answer
    at.word();  // cookies
    at.word();
    const std::string_view ending = at.word();
    at.word();  // connections
    at.word();  // queues
    while (at.rest().starts_with('{')) {
      if (!at.between('{', '}')) return std::unexpected(no_line);
      at.skip_spaces();
    }
    const auto request = at.quoted();
    if (!request || ending.size() < 2) return std::unexpected(no_line);
    if (timers_text.contains('+'))
      return std::unexpected(
          std::string("was written before its answer was whole: leave \"option logasap\" out"));
    const auto began = clf_time_of(*accepted);
    if (!began) return is_not("the time", *accepted);
    const auto timers = timers_of(timers_text);
    if (!timers) return is_not("TR/Tw/Tc/Tr/Ta", timers_text);
    const auto status = status_of(status_text == "-1" ? "0" : status_text);
    if (!status) return is_not("the status", status_text);

    const Duration all = timers->all.value_or(0s), head = std::min(timers->head.value_or(0s), all);
    const Duration queue = std::min(timers->queue.value_or(0s), all - head);
    entry.time_ns = *began + all.count();
    entry.total = all - head;  // it arrives when its head has
    entry.upstream = entry.total - queue;
    entry.tells_bytes = false;
    const bool had_server = !server.ends_with("/<NOSRV>") && timers->connect;
    judge(entry, *status, had_server && timers->response ? Answerer::service : Answerer::proxy);
    judge_ending(entry, ending, had_server);
    entry.method = method_of(*request);
    take_path(entry, target_of(*request), path_);
    return entry;
  }

 private:
  // Manual, 8.5: who ended it, and what HAProxy was waiting for then.
  static void judge_ending(AccessEntry& entry, std::string_view ending, bool had_server) {
    const char who = ending[0], when = ending[1];
    if (who == 'P' && (entry.status == 429 || entry.status == 503)) return;  // by a limit
    // Its request never came; a rule denied it; HAProxy answers this itself.
    if (when == 'R' || who == 'P' || who == 'L') return is_no_work(entry);
    if (who == 'C' || who == 'c') return was_left(entry);
    if (when == 'Q') {  // it waited in HAProxy for too long
      entry.verdict = "rejected";
      entry.reason = "queue_timeout";
      return;
    }
    if (who != 's' && who != 'S') return;
    entry.verdict = "admitted";
    entry.reason = !had_server  ? "upstream_unreachable"
                   : who == 's' ? "upstream_timeout"
                                : "upstream_broken";
  }

  std::string path_;
};

}  // namespace

std::unique_ptr<LineReader> haproxy_reader() { return std::make_unique<HaproxyReader>(); }

}  // namespace classgate::planning
