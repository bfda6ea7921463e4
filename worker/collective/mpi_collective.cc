#include "worker/collective/backend.h"
#include "worker/collective/mpi_engine.h"

namespace entrain::collective {
namespace {

class MpiCollective : public Collective {
 public:
  explicit MpiCollective(std::unique_ptr<MpiEngine> engine) : engine_(std::move(engine)) {}
  int rank() const override { return engine_->rank(); }
  int world_size() const override { return engine_->world_size(); }
  std::unique_ptr<Work> AllReduceSum(float* buffer, std::int64_t count) override {
    return engine_->AllReduceSum(buffer, count);
  }
  absl::Status AllReduceMax(float* buffer, std::int64_t count) override {
    return engine_->AllReduceMax(buffer, count)->Wait();
  }
  absl::Status Broadcast(void* bytes, std::int64_t size, int root) override {
    return engine_->Broadcast(bytes, size, root)->Wait();
  }
  absl::Status Barrier() override { return engine_->Barrier()->Wait(); }
  void Abort(int exit_code) override { engine_->Abort(exit_code); }

 private:
  std::unique_ptr<MpiEngine> engine_;
};

}  // namespace
}  // namespace entrain::collective

ENTRAIN_COLLECTIVE_EXPORT entrain::collective::Collective* EntrainMakeCollective(const entrain::collective::CollectiveLimits& /*limits*/,
                                                                                 std::string* error) {
  auto engine = entrain::collective::MpiEngine::Start();
  if (!engine.ok()) {
    *error = std::string(engine.status().message());
    return nullptr;
  }
  return new entrain::collective::MpiCollective(*std::move(engine));
}
