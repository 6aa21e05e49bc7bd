extension RunConfiguration.Optimizer {
    /// Whether it is AdamW, and not SGD.
    public var isAdamW: Bool { name == "adamw" }
}

extension RunConfiguration {
    /// Checks the keys that say how gradients change parameters. A key of the other optimiser is refused: whoever gives it expects an
    /// effect.
    func validateOptimizer() throws(ConfigurationError) {
        func require(_ valid: Bool, _ key: String, _ problem: String) throws(ConfigurationError) {
            let key = key.contains(".") ? key : "optimizer.\(key)"
            if !valid { throw ConfigurationError(key: key, problem: problem) }
        }
        let defaults = Optimizer()
        let name = optimizer.name ?? "sgd"
        try require(["sgd", "adamw"].contains(name), "name", "is \(name); use sgd or adamw")
        let decay = optimizer.decay ?? "all"
        try require(["all", "weights"].contains(decay), "decay", "is \(decay); use all or weights")
        try require((0..<1).contains(optimizer.momentum), "momentum", "is \(optimizer.momentum), not in 0..<1")
        try require(
            ["f32", "bf16", "int8", "none"].contains(head.momentumStorage), "head.momentum_storage",
            "is \(head.momentumStorage); use f32, bf16, int8 or none")
        try require(
            head.momentumStorage != "none" || optimizer.isAdamW || optimizer.momentum == 0, "head.momentum_storage",
            "is none with optimizer.momentum \(optimizer.momentum); set optimizer.momentum to 0, or use f32, bf16 or int8"
        )
        if optimizer.isAdamW {
            try require(
                optimizer.momentum == defaults.momentum, "momentum",
                "has no effect with optimizer.name adamw, which has optimizer.betas: leave it out")
            try require(
                head.momentumStorage == Head().momentumStorage, "head.momentum_storage",
                "has no effect with optimizer.name adamw, which has optimizer.moments: leave it out")
            let betas = optimizer.betas ?? []
            try require(
                betas.count == 2 && betas.allSatisfy { (0..<1).contains($0) }, "betas",
                "is \(betas); two numbers in 0..<1 are needed, such as [0.9, 0.999]")
            let epsilon = optimizer.epsilon ?? 0
            try require(
                epsilon >= 1e-30 && epsilon <= 1, "epsilon", "is \(epsilon), not in 1e-30...1")
            let moments = optimizer.moments ?? ""
            try require(["f32", "bf16"].contains(moments), "moments", "is \(moments); use f32 or bf16")
        } else {
            for (key, isDefault) in [
                ("betas", optimizer.betas == nil || optimizer.betas == defaults.betas),
                ("epsilon", optimizer.epsilon == nil || optimizer.epsilon == defaults.epsilon),
                ("moments", optimizer.moments == nil || optimizer.moments == defaults.moments),
            ] {
                try require(
                    isDefault, key, "has no effect with optimizer.name sgd: leave it out, or set the name to adamw")
            }
        }
    }
}
