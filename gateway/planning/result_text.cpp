#include "gateway/planning/result_text.h"

#include "conf/format.h"
#include "gateway/planning/busiest.h"
#include "gateway/planning/told.h"

namespace classgate::planning {
namespace {

using simulation::Counts;
using simulation::Duration;
using simulation::Group;

constexpr std::size_t shown_clients = 5;

std::string row(const Result& result, const std::string& name, const Group& of) {
  return fmt::format("{:<22}{:>10}{:>10}{:>9.1f}{:>10}{:>8}{:>8}{:>10}{:>10}{:>11}\n",
                     name.substr(0, 21), of.arrived, of.served, result.goodput(of),
                     of.all_rejected(), of.all_failed(), of.abandoned, told_ms(of.wait.mean()),
                     told_ms(of.wait.told(0.95)), told_ms(of.latency.told(0.95)));
}

std::string client_row(const Result& result, std::uint32_t client) {
  const simulation::ClientCounts& of = result.tally.by_client()[client];
  const Duration mean =
      of.waits == 0 ? Duration() : of.wait_sum / static_cast<Duration::rep>(of.waits);
  return fmt::format("{:<22}{:>10}{:>10}{:>9.1f}{:>10}{:>8}{:>8}{:>10}\n",
                     result.traffic->client_name(client).substr(0, 21), of.arrived, of.served,
                     result.goodput(of), of.all_rejected(), of.all_failed(), of.abandoned,
                     told_ms(mean));
}

std::string reasons(std::string_view what, const simulation::ReasonCounts& counts,
                    std::uint64_t of) {
  std::string text;
  for (const conf::ReasonText& reason : conf::reason_texts) {
    const std::uint64_t count = counts[conf::index_of(reason.reason)];
    if (count == 0) continue;
    text += fmt::format("{}{} {} ({:.2f} %)", text.empty() ? "" : ", ", reason.word, count,
                        100 * static_cast<double>(count) / static_cast<double>(of));
  }
  return text.empty() ? "" : fmt::format("{}: {}\n", what, text);
}

}  // namespace

std::string to_text(const Scenario& scenario, const Result& result) {
  const simulation::Tally& tally = result.tally;
  const Group& all = tally.all();
  const conf::AdmissionSettings& admission = result.settings.admission;
  std::string text;
  for (const std::string& remark : result.traffic->remarks()) text += remark + "\n";
  text += fmt::format("{} under {}\nthe service: {}\n", scenario.describe(), result.conf,
                      scenario.describe_upstream());
  text += fmt::format("{:.1f} s, {} requests ({:.1f} a second), of these {} were tried again\n\n",
                      result.seconds(), all.arrived,
                      static_cast<double>(all.arrived) / result.seconds(), all.retries);
  text += fmt::format("{:<22}{:>10}{:>10}{:>9}{:>10}{:>8}{:>8}{:>10}{:>10}{:>11}\n", "", "arrived",
                      "served", "a second", "rejected", "failed", "left", "wait ms", "p95",
                      "answer p95");
  text += row(result, "all", all);
  for (std::size_t i = 0; i < conf::priority_count; ++i)
    if (tally.by_priority()[i].arrived > 0)
      text += row(result, fmt::format("priority {}", i + 1), tally.by_priority()[i]);
  for (std::uint32_t i = 0; i < tally.by_group().size(); ++i)
    text += row(result,
                fmt::format("{} {}", result.traffic->group_kind(), result.traffic->group_name(i)),
                tally.by_group()[i]);
  if (tally.by_client().size() > 1)
    for (const std::uint32_t client : busiest_clients(tally, shown_clients))
      text += client_row(result, client);
  text += "\n" + reasons("rejected", all.rejected, all.arrived) +
          reasons("failed", all.failed, all.arrived);
  text += fmt::format(
      "workers: {:.1f} % of the time of {} used, {} at once at most{}\n",
      100 * result.worker_share(), result.workers, tally.active_most(),
      result.workers < admission.workers
          ? fmt::format(" (the servers take {} of the {})", result.workers, admission.workers)
          : std::string());
  text += fmt::format("queue: {} of {} at most\n", tally.waiting_most(), admission.queue_size);
  return text;
}

}  // namespace classgate::planning
