"""Amazon Bedrock's wire: Converse, and InvokeModel for embeddings."""
