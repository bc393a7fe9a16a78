"""Rounds of generation with vLLM. This file runs in the Python of vLLM's environment, which lacks Motet.

The first line of its input is a JSON object: `model`, a folder of weights; `max_model_len`; `at_once`, the maximum
number of running sequences; and `requests`, pairs of a prompt's token ids and the number of tokens to generate. The
process answers "ready" when the model is loaded. For each further line it generates all responses once, and answers
with the number of generated tokens. It ends with its input.
"""

import json
import os
import sys


def main() -> None:
    """Load the model, then run a round for each line of the input."""
    # Libraries print to the standard output. Only the answers belong there.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    from vllm import LLM, SamplingParams

    model = LLM(
        model=order["model"],
        skip_tokenizer_init=True,
        dtype="float32",
        max_model_len=order["max_model_len"],
        max_num_seqs=order["at_once"],
        disable_log_stats=True,
    )
    prompts = [{"prompt_token_ids": ids} for ids, _ in order["requests"]]
    sampling = [
        SamplingParams(max_tokens=tokens, temperature=1.0, ignore_eos=True, detokenize=False, seed=seed)
        for seed, (_, tokens) in enumerate(order["requests"])
    ]
    print("ready", file=answers)
    for _ in sys.stdin:
        responses = model.generate(prompts, sampling, use_tqdm=False)
        print(sum(len(response.outputs[0].token_ids) for response in responses), file=answers)


if __name__ == "__main__":
    main()
