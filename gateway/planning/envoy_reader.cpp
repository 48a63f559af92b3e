#include <algorithm>

#include "gateway/planning/foreign_readers.h"
#include "gateway/planning/log_fields.h"

namespace classgate::planning {
namespace {

using namespace std::chrono_literals;

class EnvoyReader final : public LineReader {
 public:
  std::expected<AccessEntry, std::string> read(std::string_view line) override {
    constexpr auto no_line = "is no line of Envoy's default format";
    AccessEntry entry;
    entry.is_by_address = true;
    Cursor at(line);
    const auto time = at.between('[', ']');
    at.skip(" ");
    const auto request = at.quoted();
    at.skip(" ");
    if (!time || !request) return std::unexpected(no_line);
    const auto began = iso_time_of(*time);
    if (!began) return is_not("the time", *time);
    const std::string_view status_text = at.word();
    const auto status = status_of(status_text);
    if (!status) return is_not("the status", status_text);
    const std::string_view flags = at.word();
    const auto received = number_of(at.word(), AccessEntry::bytes_max);
    const auto sent = number_of(at.word(), AccessEntry::bytes_max);
    const auto total = duration_of(at.word(), 1ms);
    const std::string_view upstream_text = at.word();
    const auto upstream = duration_of(upstream_text, 1ms);
    if (!received || !sent || !total || (!upstream && upstream_text != "-"))
      return std::unexpected(no_line);
    const auto forwarded_for = at.quoted();
    if (!forwarded_for) return std::unexpected(no_line);

    entry.client = forwarded_for->substr(0, forwarded_for->find(','));
    entry.bytes_in = *received;
    entry.total = *total;
    entry.time_ns = *began + total->count();
    entry.upstream = std::min(upstream.value_or(*total), *total);
    judge(entry, *status, upstream ? Answerer::service : Answerer::proxy);
    judge_flags(entry, flags);
    entry.method = method_of(*request);
    take_path(entry, target_of(*request), path_);
    return entry;
  }

 private:
  // %RESPONSE_FLAGS%
  static void judge_flags(AccessEntry& entry, std::string_view flags) {
    const auto has = [flags](std::string_view flag) {
      for (std::string_view rest = flags; !rest.empty();) {
        const std::size_t end = std::min(rest.find(','), rest.size());
        if (rest.substr(0, end) == flag) return true;
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
      return false;
    };
    const auto failed = [&entry](std::string_view reason) {
      entry.verdict = "admitted";
      entry.reason = reason;
    };
    if (has("DC")) return was_left(entry);
    if (has("UT")) return failed("upstream_timeout");
    if (has("UF") || has("UH")) return failed("upstream_unreachable");
    if (has("UC") || has("UR") || has("LR") || has("UPE")) return failed("upstream_broken");
    if (has("UO") || has("RL") || has("OM")) {
      entry.verdict = "rejected";
      entry.reason = "shed";
    }
    if (has("NR") || has("UAEX") || has("DPE") || has("IH")) is_no_work(entry);
  }

  std::string path_;
};

}  // namespace

std::unique_ptr<LineReader> envoy_reader() { return std::make_unique<EnvoyReader>(); }

}  // namespace classgate::planning
