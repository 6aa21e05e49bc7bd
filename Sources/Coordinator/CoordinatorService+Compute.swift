import Cluster
import Configuration
import CoordinatorStore
import Logging
import Model
import Setup
import Wire

/// What head and backbone compute in, where the first member's processor decides it.
extension CoordinatorService {
    /// Decides by the first member's kernels, if it is still to be decided, and keeps it.
    ///
    /// - Throws: `CoordinatorStoreError` if it cannot be written: it is not decided then.
    func decideCompute(by hello: Hello) throws {
        guard setup.isComputeOpen else { return }
        let decided = try setup.deciding(by: Self.headKernels(KernelChoice(hello.instructionSet)))
        let text = decided.configuration.canonicalText
        let least = decided.configuration.cluster.sameInstructionSet ? decided.leastKernels(since: setup) : nil
        try store.setCompute(configuration: text, leastKernels: least?.rawValue)
        (cluster.configuration, cluster.leastHeadKernels) = (text, least?.rawValue)
        policy.configurationHash = decided.configuration.fingerprint
        setup = decided
        noteClusterChanged()
        let both = decided.backboneCompute == .f32 ? "" : "; backbone.compute \(decided.backboneCompute)"
        log.info("head.compute \(decided.head.compute), by the processor of the first member, \(hello.name)\(both)")
    }

    /// Rounding depends on the kernels: the first member that uses a library decides with which ones of it this run computes.
    ///
    /// - Throws: `CoordinatorStoreError` if it cannot be written: it is not decided then.
    func decideKernels(by hello: Hello) throws {
        let kernels = KernelChoice(policy.instructionSet ?? "").union(KernelChoice(hello.instructionSet)).description
        guard setup.configuration.cluster.sameInstructionSet, policy.instructionSet != kernels else { return }
        try store.setInstructionSet(kernels)
        policy.instructionSet = kernels
        cluster.instructionSet = kernels
        noteClusterChanged()
        log.info("instruction set \(kernels)")
    }

    /// Why a member cannot compute what the first one has decided, or nil.
    func lack(of hello: Hello) -> Refusal? {
        guard let least = cluster.leastHeadKernels.flatMap(HeadKernels.init),
            let here = Self.headKernels(KernelChoice(hello.instructionSet)), here < least
        else { return nil }
        return Refusal(
            .instructionSet,
            "this cluster computes with head.compute \(setup.head.compute) and backbone.compute \(setup.backboneCompute), as the processor of its first member can; that takes the kernels \(least), the peer's processor has \(here): use a processor that has them, or begin a run with head.compute fma or f32 and backbone.compute f32"
        )
    }

    private static func headKernels(_ choice: KernelChoice) -> HeadKernels? {
        choice.kernels(of: KernelChoice.head).flatMap(HeadKernels.init)
    }
}
