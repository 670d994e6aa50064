package example;

import bertwire.v1.ClassifierGrpc;
import bertwire.v1.ClassifierOuterClass.ClassifyRequest;
import bertwire.v1.ClassifierOuterClass.ClassifyResponse;
import bertwire.v1.ClassifierOuterClass.LabelScore;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/** Classify texts: ADDRESS TEXT... */
public final class Classify {
  public static void main(String[] arguments) throws InterruptedException {
    List<String> texts = List.of(arguments).subList(1, arguments.length);
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(arguments[0])
            .usePlaintext()
            .defaultLoadBalancingPolicy("round_robin")
            .enableRetry()
            .build();
    try {
      ClassifyRequest request = ClassifyRequest.newBuilder().addAllTexts(texts).setTopK(1).build();
      ClassifyResponse response =
          ClassifierGrpc.newBlockingStub(channel).withDeadlineAfter(5, TimeUnit.SECONDS).classify(request);
      for (int index = 0; index < texts.size(); index++) {
        LabelScore best = response.getResults(index).getLabels(0);
        System.out.printf(Locale.ROOT, "%s %.3f %s%n", best.getLabel(), best.getScore(), texts.get(index));
      }
    } catch (StatusRuntimeException error) {
      System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription());
      System.exit(1);
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }
}
