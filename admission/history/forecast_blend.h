#pragma once

#include <array>
#include <cstddef>
#include <span>

namespace classgate::history {

// One forecast made of several, for one quantile `tau`, by what each has lost of late. Loss is the
// pinball loss, tau max(y - x, 0) + (1 - tau) max(x - y, 0): half the absolute error for tau = 1/2.
// In two steps, since each alone fails somewhere:
//   1. ML-Poly (Gaillard, Stoltz, van Erven 2014) finds combinations that beat every single expert.
//      Its weights are gained where the mixture would have lost less by leaning there:
//        r_k = g (mixed - x_k),  g = [mixed > y] - tau,  R_k = keep R_k + r_k,  V_k = keep V_k +
//        r_k^2 w_k ~ max(R_k, 0) / (1 + V_k)
//   2. It is one more expert in a mean by w_k ~ (least loss / loss_k)^power, which is hard to lead
//      astray where there is little to be found, as in a load that jumps about.
// All are weighed over the same time: who says nothing loses a tenth more than the mixture, as
// experts that sleep do (Freund, Schapire, Singer, Warmuth 1997), and a single loss is bounded.
// One thread.
class Blend {
 public:
  static constexpr std::size_t experts_max = 20;

  // `keep` in (0, 1): what a loss counts one sample later.
  Blend(std::size_t of_experts, double tau, double keep);

  // NaN of an expert: it has nothing to say, the others share its weight. NaN: nobody has.
  double mix(std::span<const double> forecasts) const;
  // What the experts had said of what came; `unit` > 0: what losses are measured in.
  void learn(std::span<const double> forecasts, double came, double unit);

 private:
  struct Record {
    double regret = 0;
    double square = 0;
    double weight = 0;  // in step 1
    double loss = 0;
    double seen = 0;
  };
  double combine(std::span<const double> forecasts) const;  // step 1
  double loss_of(double forecast, double came) const;
  static double mean_loss(const Record& record) { return record.loss / record.seen; }

  std::size_t experts_;
  double tau_;
  double keep_;
  std::array<Record, experts_max + 1> records_{};  // the last: that of step 1
};

}  // namespace classgate::history
