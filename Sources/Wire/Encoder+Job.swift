internal import CWire
import StepProtocol

/// What is said of jobs: workers with a network of their own.
extension Encoder {
    func job(_ job: JobRank) throws -> UnsafeMutablePointer<Partialfc__Job> {
        try arena.make(partialfc__job__init) {
            $0.id = job.id
            $0.rank = try Field.small(job.rank, "rank of a job")
            $0.world_size = try Field.small(job.worldSize, "world_size of a job")
            $0.step = try Field.orNone(job.step, "step of a job")
            $0.past = job.past
        }
    }

    func planJob(_ job: PlanJob) throws -> UnsafeMutablePointer<Partialfc__PlanJob> {
        try arena.make(partialfc__plan_job__init) {
            $0.id = job.id
            $0.world_size = try Field.small(job.worldSize, "world_size of a job")
            $0.sets_rate = job.setsRate ? 1 : 0
        }
    }
}
