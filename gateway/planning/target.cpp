#include "gateway/planning/target.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "admission/measure/units.h"
#include "conf/format.h"
#include "conf/workload.h"

namespace classgate::planning {
namespace {

using What = Target::What;

struct Word {
  const char* word;
  What what;
};
constexpr std::array measured_words{Word{"wait", What::wait},        Word{"answer", What::answer},
                                    Word{"latency", What::answer},   Word{"refused", What::refused},
                                    Word{"rejected", What::refused}, Word{"failed", What::failed},
                                    Word{"left", What::left}};

const simulation::Group* group_of(const Target& target, const Result& result) {
  if (target.priority > 0)
    return &result.tally.by_priority()[static_cast<std::size_t>(target.priority - 1)];
  if (target.group.empty()) return &result.tally.all();
  for (std::uint32_t i = 0; i < result.tally.by_group().size(); ++i)
    if (result.traffic->group_name(i) == target.group) return &result.tally.by_group()[i];
  return nullptr;
}

}  // namespace

double Target::measure(const Result& result) const {
  const simulation::Group* of = group_of(*this, result);
  if (of == nullptr || of->arrived == 0) return 0;
  const auto of_all = [&](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(of->arrived);
  };
  switch (what) {
    case What::refused: return of_all(of->all_rejected());
    case What::failed: return of_all(of->all_failed());
    case What::left: return of_all(of->abandoned);
    default: break;
  }
  const measure::Spread& spread = what == What::wait ? of->wait : of->latency;
  const Duration found = share <= 0   ? spread.mean()
                         : share >= 1 ? spread.most()
                                      : spread.told(share);
  return measure::in_rounded_ms(found);
}

std::string Target::print(double value) const {
  return is_a_time() ? fmt::format("{:g} ms", value) : fmt::format("{:.2f} %", value * 100);
}

std::expected<Target, std::string> parse_target(const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return std::unexpected(fmt::format(
        "--plan \"{}\": {}; write such as \"wait p95 <= 100ms for priority 3\", \"answer mean <= "
        "2s\", \"refused <= 1%\" (or failed, left) with \"for priority N\", \"for class NAME\" or "
        "\"for route PATH\"",
        text, why));
  };
  std::string spaced = text;
  for (const std::string_view sign : {"≤", "<="})
    if (const std::size_t at = spaced.find(sign); at != std::string::npos) {
      spaced.replace(at, sign.size(), " <= ");
      break;
    }
  std::istringstream in(spaced);
  std::vector<std::string> parts;
  for (std::string part; in >> part;) parts.push_back(part);
  Target target;
  target.text = text;
  std::size_t at = 0;
  const auto take = [&] { return at < parts.size() ? parts[at++] : std::string(); };
  const std::string word = take();
  const auto known = std::ranges::find(measured_words, word, &Word::word);
  if (known == measured_words.end()) return wrong("\"" + word + "\" is nothing that is measured");
  target.what = known->what;
  std::string next = take();
  if (target.is_a_time() && next != "<=") {
    if (next == "mean")
      target.share = 0;
    else if (next == "max")
      target.share = 1;
    else if (next == "p50" || next == "p95" || next == "p99")
      target.share = std::stoi(next.substr(1)) / 100.0;
    else
      return wrong("\"" + next + "\" is not mean, p50, p95, p99 or max");
    next = take();
  }
  if (next != "<=") return wrong("has no <=");
  std::string value = take();
  if (at < parts.size() && (parts[at] == "%" || parts[at] == "ms" || parts[at] == "s"))
    value += take();
  if (target.is_a_time()) {
    const auto law = conf::parse_law(value);
    if (!law || law->kind != conf::Law::Kind::fixed) return wrong("has no time");
    target.most = measure::in_ms(law->first);
  } else {
    if (!value.ends_with('%')) return wrong("has no share in %");
    double share = -1;
    const char* const end = value.data() + value.size() - 1;
    const auto [stop, error] = std::from_chars(value.data(), end, share);
    if (error != std::errc{} || stop != end || !(share >= 0 && share <= 100))
      return wrong("has no share in %, 0 to 100");
    target.most = share / 100;
  }
  if (at == parts.size()) return target;
  if (take() != "for") return wrong("goes on with something else than \"for\"");
  const std::string kind = take();
  if (kind == "priority") {
    const std::string number = take();
    if (number.size() != 1 || number[0] < '1' || number[0] > '5')
      return wrong("has no priority 1 to 5");
    target.priority = number[0] - '0';
  } else if (kind == "class" || kind == "route") {
    target.group = take();
    while (at < parts.size()) target.group += " " + take();
    if (target.group.empty()) return wrong("names none");
  } else {
    return wrong("is for neither priority, class nor route");
  }
  return at == parts.size() ? std::expected<Target, std::string>(target)
                            : wrong("goes on after its end");
}

}  // namespace classgate::planning
