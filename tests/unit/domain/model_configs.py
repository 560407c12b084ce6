"""config.json of published models: the fields that decide their size."""

QWEN25_7B = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944,
    "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "tie_word_embeddings": False, "max_position_embeddings": 32768, "torch_dtype": "bfloat16", "hidden_act": "silu",
}  # fmt: skip
QWEN25_05B = {
    **QWEN25_7B, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip
QWEN25_72B = {
    **QWEN25_7B, "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8,
}  # fmt: skip
QWEN3_8B = {
    **QWEN25_7B, "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 4096,
    "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 128, "vocab_size": 151936, "max_position_embeddings": 40960,
}  # fmt: skip
LLAMA31_8B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "tie_word_embeddings": False, "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "hidden_act": "silu",
}  # fmt: skip
LLAMA2_7B = {**LLAMA31_8B, "intermediate_size": 11008, "num_key_value_heads": 32, "vocab_size": 32000}
MIXTRAL_8X7B = {
    **LLAMA31_8B, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 8,
    "num_experts_per_tok": 2, "vocab_size": 32000,
}  # fmt: skip
SMOLLM2_135M = {
    **LLAMA31_8B, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "vocab_size": 129280, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "torch_dtype": "bfloat16",
    "hidden_act": "silu",
}  # fmt: skip
OPT_13B = {
    "architectures": ["OPTForCausalLM"], "model_type": "opt", "hidden_size": 5120, "intermediate_size": 20480,
    "num_hidden_layers": 40, "num_attention_heads": 40, "vocab_size": 50272, "torch_dtype": "float16",
    "activation_function": "relu",
}  # fmt: skip
GPT3_175B = {
    "model_type": "gpt", "hidden_size": 12288, "intermediate_size": 49152, "num_hidden_layers": 96,
    "num_attention_heads": 96, "vocab_size": 51200, "hidden_act": "gelu",
}  # fmt: skip
