#include "sweep/draft.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <unordered_map>

#include "base/check.h"
#include "base/strings.h"
#include "sweep/health_fields.h"
#include "sweep/run_fields.h"

namespace entrain::sweep {
namespace {

template <typename Section, typename Access>
void AddSection(const std::string& prefix, const std::vector<Field<Section>>& fields, Access section,
                std::vector<Field<Draft>>* all) {
  for (const Field<Section>& field : fields) {
    Field<Draft> lifted{static_cast<const FieldSpec&>(field), {}, {}};
    lifted.name = StrCat(prefix, ".", field.name);
    lifted.get = [get = field.get, section](const Draft& draft) { return get(section(const_cast<Draft&>(draft))); };
    lifted.set = [set = field.set, section](Draft& draft, const Value& value) { set(section(draft), value); };
    all->push_back(std::move(lifted));
  }
}

const std::vector<Field<Draft::Stated>>& StatedFields() {
  using Stated = Draft::Stated;
  static const std::vector<Field<Stated>> fields = {
      Integer("tokens", &Stated::tokens, Between(1, 9e15),
              "Instead of steps: tokens of the whole run, rounded up to whole steps."),
      Integer("batch_tokens", &Stated::batch_tokens, Between(1, 9e15),
              "Instead of batch_size: tokens of one optimiser step; a multiple of context * accumulation."),
      Integer("warmup_tokens", &Stated::warmup_tokens, Between(1, 9e15),
              "Instead of warmup_steps: in tokens, rounded up."),
      Number("warmup_fraction", &Stated::warmup_fraction, Between(0, 1),
             "Instead of warmup_steps: a share of all steps."),
      Integer("eval_interval_tokens", &Stated::eval_interval_tokens, Between(1, 9e15),
              "Instead of eval_interval_steps: in tokens, rounded up."),
      Integer("checkpoint_interval_tokens", &Stated::checkpoint_interval_tokens, Between(1, 9e15),
              "Instead of checkpoint_interval_steps: in tokens, rounded up."),
  };
  return fields;
}

std::vector<Field<Draft>> MakeDraftFields() {
  std::vector<Field<Draft>> all;
  AddSection(
      "model", ModelFields(), [](Draft & draft) -> auto& { return draft.config.model; }, &all);
  AddSection(
      "model", LayerFields(), [](Draft & draft) -> auto& { return draft.config.model.layer; }, &all);
  AddSection(
      "train", TrainFields(), [](Draft & draft) -> auto& { return draft.config.train; }, &all);
  AddSection(
      "train", StatedFields(), [](Draft & draft) -> auto& { return draft.stated; }, &all);
  AddSection(
      "resources", ResourceFields(), [](Draft & draft) -> auto& { return draft.config.resources; }, &all);
  AddSection(
      "health", HealthPresetFields(), [](Draft & draft) -> auto& { return draft.health; }, &all);
  AddSection(
      "health.collapse", CollapseFields(), [](Draft & draft) -> auto& { return draft.health.collapse; }, &all);
  AddSection(
      "health.overload", OverloadFields(), [](Draft & draft) -> auto& { return draft.health.overload; }, &all);
  AddSection(
      "health.spike", SpikeFields(), [](Draft & draft) -> auto& { return draft.health.spike; }, &all);
  AddSection(
      "health.divergence", DivergenceFields(), [](Draft & draft) -> auto& { return draft.health.divergence; }, &all);
  AddSection(
      "health.non_finite", NonFiniteFields(), [](Draft & draft) -> auto& { return draft.health.non_finite; }, &all);
  AddSection(
      "health.plateau", PlateauFields(), [](Draft & draft) -> auto& { return draft.health.plateau; }, &all);
  AddSection(
      "health.max_score", ScoreFields(), [](Draft & draft) -> auto& { return draft.health.max_score; }, &all);
  AddSection(
      "health.rescue", RescueFields(), [](Draft & draft) -> auto& { return draft.health.rescue; }, &all);
  AddSection(
      "retries", RetryFields(), [](Draft & draft) -> auto& { return draft.retries; }, &all);
  AddSection(
      "limits", LimitFields(), [](Draft & draft) -> auto& { return draft.limits; }, &all);
  return all;
}

// Stating one thing anew forgets how it was stated before.
void ForgetRivals(const std::string& field, Draft* draft) {
  for (const std::vector<std::string>& group : ExclusiveFields()) {
    if (std::find(group.begin(), group.end(), field) == group.end()) continue;
    for (const std::string& rival : group) {
      if (rival == field) continue;
      draft->places.erase(rival);
      if (rival == "train.tokens") draft->stated.tokens = 0;
      if (rival == "train.batch_tokens") draft->stated.batch_tokens = 0;
      if (rival == "train.warmup_tokens") draft->stated.warmup_tokens = 0;
      if (rival == "train.warmup_fraction") draft->stated.warmup_fraction = 0.0;
      if (rival == "train.warmup_steps") draft->config.train.warmup_steps = 0;
      if (rival == "train.eval_interval_tokens") draft->stated.eval_interval_tokens = 0;
      if (rival == "train.checkpoint_interval_tokens") draft->stated.checkpoint_interval_tokens = 0;
    }
  }
}

std::int64_t DivideUp(std::int64_t value, std::int64_t by) { return value / by + (value % by != 0 ? 1 : 0); }

// Checks across fields of one cell, with the place of the first field named that was set.
class CellCheck {
 public:
  CellCheck(const std::set<std::string>& failed, const Draft& draft, ProblemList* problems)
      : failed_(failed), draft_(draft), problems_(problems) {}

  void Require(bool condition, const std::vector<std::string>& fields, const std::string& message) {
    if (condition) return;
    sound_ = false;
    const auto unreadable = [&](const std::string& field) { return failed_.contains(field); };
    if (std::any_of(fields.begin(), fields.end(), unreadable)) return;
    const auto set = [&](const std::string& field) { return draft_.places.contains(field); };
    const auto named = std::find_if(fields.begin(), fields.end(), set);
    const std::string& field = named == fields.end() ? fields.front() : *named;
    problems_->Add(draft_.PlaceOf(field), field, message);
  }
  bool sound() const { return sound_; }

 private:
  const std::set<std::string>& failed_;
  const Draft& draft_;
  ProblemList* problems_;
  bool sound_ = true;
};

void ResolveModel(const BoundDataset& dataset, Draft* draft) {
  domain::ModelConfig& model = draft->config.model;
  draft->config.dataset = dataset.ref;
  if (!draft->places.contains("model.vocab_size")) model.vocab_size = dataset.vocab_size;
  if (!draft->places.contains("model.n_positions")) model.n_positions = draft->config.train.context;
  if (model.n_inner == 4 * model.n_embd) model.n_inner = 0;
  NarrowReparamTargets(&model.layer);
  for (const auto& [index, settings] : draft->layer_settings) {
    domain::LayerConfig layer = model.layer;
    for (const auto& [name, value] : settings) FindField(LayerFields(), name)->set(layer, value);
    NarrowReparamTargets(&layer);
    if (layer != model.layer) model.layers[index] = layer;
  }
}

void ResolveTrain(Draft* draft, CellCheck* check) {
  domain::TrainConfig& train = draft->config.train;
  const Draft::Stated& stated = draft->stated;
  const std::int64_t sequence_tokens = train.context * train.accumulation;
  if (stated.batch_tokens > 0) {
    train.batch_size = stated.batch_tokens / sequence_tokens;
    check->Require(train.batch_size > 0 && stated.batch_tokens % sequence_tokens == 0,
                   {"train.batch_tokens", "train.context", "train.accumulation"},
                   StrCat("must be a multiple of context * accumulation = ", train.context, " * ", train.accumulation,
                          " = ", sequence_tokens, ", is ", stated.batch_tokens));
  }
  const std::int64_t step_tokens = std::max<std::int64_t>(1, sequence_tokens * train.batch_size);
  if (stated.tokens > 0) train.steps = DivideUp(stated.tokens, step_tokens);
  if (stated.warmup_tokens > 0) train.warmup_steps = DivideUp(stated.warmup_tokens, step_tokens);
  if (stated.eval_interval_tokens > 0) train.eval_interval_steps = DivideUp(stated.eval_interval_tokens, step_tokens);
  if (stated.checkpoint_interval_tokens > 0) {
    train.checkpoint_interval_steps = DivideUp(stated.checkpoint_interval_tokens, step_tokens);
  }
  if (stated.warmup_fraction > 0) {
    train.warmup_steps = std::llround(stated.warmup_fraction * static_cast<double>(train.steps));
  }
}

void CheckModel(const BoundDataset& dataset, const Draft& draft, CellCheck* check) {
  const domain::ModelConfig& model = draft.config.model;
  check->Require(model.n_embd % model.n_head == 0, {"model.n_head", "model.n_embd"},
                 StrCat("must divide n_embd: n_head is ", model.n_head, ", n_embd is ", model.n_embd));
  check->Require(
      model.vocab_size >= dataset.vocab_size, {"model.vocab_size"},
      StrCat("must be at least ", dataset.vocab_size, ", the vocabulary of the data, is ", model.vocab_size));
  check->Require(draft.config.train.context <= model.n_positions, {"model.n_positions", "train.context"},
                 StrCat("must be at least train.context: n_positions is ", model.n_positions, ", context is ",
                        draft.config.train.context));
  if (!draft.layer_settings.empty()) {
    const std::int64_t last = draft.layer_settings.rbegin()->first;
    check->Require(last < model.n_layer, {"model.layers", "model.n_layer"},
                   StrCat("names layer ", last, ", but the layers are 0 to ", model.n_layer - 1));
  }
}

void CheckTrain(const Draft& draft, CellCheck* check) {
  const domain::TrainConfig& train = draft.config.train;
  const std::int64_t ranks = draft.config.resources.WorldSize();
  check->Require(train.batch_size % ranks == 0,
                 {"train.batch_size", "train.batch_tokens", "resources.ranks_per_machine", "resources.machines"},
                 StrCat("batch_size ", train.batch_size, " must be a multiple of the gang's ", ranks,
                        " ranks (machines * ranks_per_machine)"));
  check->Require(train.warmup_steps <= train.steps,
                 {"train.warmup_steps", "train.warmup_tokens", "train.steps", "train.tokens"},
                 StrCat("warm-up of ", train.warmup_steps, " steps is longer than the run of ", train.steps));
  check->Require(train.eval_interval_steps <= 1'000'000'000 && train.checkpoint_interval_steps <= 1'000'000'000,
                 {"train.eval_interval_tokens", "train.checkpoint_interval_tokens"},
                 "gives an interval of more than 1000000000 steps");
  check->Require(train.steps <= 1'000'000'000, {"train.tokens", "train.steps"},
                 StrCat("gives ", train.steps, " steps, more than 1000000000"));
  const double tokens = static_cast<double>(train.steps) * static_cast<double>(train.batch_size) *
                        static_cast<double>(train.accumulation) * static_cast<double>(train.context);
  check->Require(tokens <= 9e15, {"train.steps", "train.batch_size", "train.context"},
                 "steps * batch_size * accumulation * context is more than 9e15 tokens");
}

// What the domain refuses beyond the checks above; its messages name their field first.
void CheckDomain(const Draft& draft, CellCheck* check) {
  if (!check->sound()) return;
  const absl::Status status = domain::Validate(draft.config);
  if (status.ok()) return;
  const std::string message(status.message());
  std::size_t end = 0;
  while (end < message.size() &&
         (std::isalnum(static_cast<unsigned char>(message[end])) || message[end] == '_' || message[end] == '.')) {
    ++end;
  }
  check->Require(false, {message.substr(0, end), "model.layers"}, message);
}

}  // namespace

Place Draft::PlaceOf(const std::string& field) const {
  const auto found = places.find(field);
  return found == places.end() ? Place{} : found->second;
}

const std::vector<Field<Draft>>& DraftFields() {
  static const auto fields = MakeDraftFields();
  return fields;
}

const Field<Draft>* FindDraftField(std::string_view path) {
  static const auto* index = [] {
    auto* map = new std::unordered_map<std::string, const Field<Draft>*>();
    for (const Field<Draft>& field : DraftFields()) map->emplace(field.name, &field);
    return map;
  }();
  const auto found = index->find(std::string(path));
  return found == index->end() ? nullptr : found->second;
}

const std::vector<std::vector<std::string>>& ExclusiveFields() {
  static const std::vector<std::vector<std::string>> groups = {
      {"train.steps", "train.tokens"},
      {"train.batch_size", "train.batch_tokens"},
      {"train.warmup_steps", "train.warmup_tokens", "train.warmup_fraction"},
      {"train.eval_interval_steps", "train.eval_interval_tokens"},
      {"train.checkpoint_interval_steps", "train.checkpoint_interval_tokens"}};
  return groups;
}

void Apply(const Setting& setting, Draft* draft) {
  if (!setting.layers.empty()) {
    for (std::int64_t layer : setting.layers) draft->layer_settings[layer].emplace_back(setting.field, setting.value);
    draft->places["model.layers"] = setting.place;
    return;
  }
  const Field<Draft>* field = FindDraftField(setting.field);
  ENTRAIN_CHECK_MSG(field != nullptr, setting.field);
  ForgetRivals(setting.field, draft);
  field->set(*draft, setting.value);
  draft->places[setting.field] = setting.place;
}

bool Resolve(const BoundDataset& dataset, const std::set<std::string>& failed, Draft* draft, ProblemList* problems) {
  CellCheck check(failed, *draft, problems);
  ResolveTrain(draft, &check);
  ResolveModel(dataset, draft);
  CheckModel(dataset, *draft, &check);
  CheckTrain(*draft, &check);
  CheckDomain(*draft, &check);
  return check.sound();
}

// Orders of magnitude for people: what a run needs before any of it was measured.
Estimate EstimateRun(const domain::RunConfig& config) {
  constexpr double kProcessBytes = 300e6;         // a LibTorch process without tensors
  constexpr double kStateBytesPerParameter = 16;  // weight, gradient, two moments
  constexpr double kCheckpointBytesPerParameter = 12;
  constexpr double kCheckpointsKept = 3;
  constexpr double kSampleBytesPerHead = 8;
  const domain::ModelConfig& model = config.model;
  const domain::TrainConfig& train = config.train;
  Estimate estimate;
  estimate.parameters = domain::ParameterCount(model);
  estimate.tokens = train.steps * train.batch_size * train.accumulation * train.context;
  const auto parameters = static_cast<double>(estimate.parameters);
  const auto layers = static_cast<double>(model.n_layer);
  const auto width = static_cast<double>(model.n_embd);
  const double rank_tokens = static_cast<double>(train.batch_size) / static_cast<double>(config.resources.WorldSize()) *
                             static_cast<double>(train.context);
  const double score_bytes = 4.0 * static_cast<double>(model.n_head) * static_cast<double>(train.context);
  const double layer_bytes = 4.0 * (12.0 * width + 3.0 * static_cast<double>(model.InnerWidth())) + 3.0 * score_bytes;
  const double activation_bytes = rank_tokens * (layers * layer_bytes + 12.0 * static_cast<double>(model.vocab_size));
  estimate.memory_bytes_per_rank = static_cast<std::int64_t>(
      std::min(9e18, kProcessBytes + kStateBytesPerParameter * parameters + activation_bytes));
  estimate.disk_bytes = static_cast<std::int64_t>(std::min(
      9e18, kCheckpointsKept * kCheckpointBytesPerParameter * parameters +
                kSampleBytesPerHead * layers * static_cast<double>(model.n_head) * static_cast<double>(train.steps)));
  const double matrix_parameters = parameters - static_cast<double>(model.n_positions) * width;
  estimate.flops = static_cast<double>(estimate.tokens) *
                   (6.0 * matrix_parameters + 12.0 * layers * width * static_cast<double>(train.context));
  return estimate;
}

}  // namespace entrain::sweep
